"""Runs with aspect buckets: one program for each, resuming, sizes of the networks, caches."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import cached_training
from tests.support.micro_model import MICRO, counting_compilations
from tests.support.numbered_clips import numbered_record, write_dataset
from tests.support.tiny_model import frozen
from videogen_jax import sharding
from videogen_jax.data.aspect_batches import Buckets
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import make_loader
from videogen_jax.errors import UserError
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.config import LoopConfig
from videogen_jax.training.frozen import clip_latents
from videogen_jax.training.latents import making
from videogen_jax.training.latents.making import make_cache
from videogen_jax.training.latents.opening import cached_source, open_cache
from videogen_jax.training.loop import train
from videogen_jax.training.runs.aspect_buckets import check_buckets
from videogen_jax.training.runs.build import batch_shapes
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

BUCKETS = ((16, 32), (32, 16))
LOOP = LoopConfig(log_every=1, sample_every=0, checkpoint_every=2)
STAGE_2 = CascadeTaskConfig(2)


class Pictures:
    """A source of pictures of one size."""

    def __init__(self, count: int, *size: int):
        self._count, self._size = count, size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int):
        rng = np.random.default_rng([index, *self._size])
        return {"video": rng.standard_normal((1, *self._size, 3), np.float32)}


class Mean:
    """Learns the mean pixel."""

    frozen = {}

    def init(self, key):
        return {"mean": jnp.zeros(3)}

    def warm_start(self, params):
        return params

    def loss(self, params, frozen, batch, keys_B):
        return jnp.square(batch["video"] - params["mean"]).mean(), {}


def train_pictures(run_dir: Path, steps: int):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    data = make_loader(Buckets((Pictures(8, 2, 4), Pictures(16, 4, 2))), 4, seed=0)
    return train(Mean(), optax.sgd(0.1), data, mesh, LOOP, run_dir, steps=steps, seed=0)


def test_a_run_compiles_once_for_each_bucket_and_resumes_exactly(tmp_path: Path):
    with counting_compilations() as programs:
        whole = train_pictures(tmp_path / "whole", 9)
    assert programs.count("jit(step)") == 2
    train_pictures(tmp_path / "parts", 4)
    resumed = train_pictures(tmp_path / "parts", 9)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)


def test_latents_have_the_shape_of_the_bucket():
    data = DataConfig(dataset="clips", resolution=16, buckets=BUCKETS)
    shape = lambda size, resolution: (
        jax.eval_shape(
            lambda batch: clip_latents(MICRO, frozen(), batch, resolution, None, data),
            {"video": jax.ShapeDtypeStruct((2, 3, *size, 3), np.uint8)},
        ).shape
    )
    assert shape((16, 32), 16) == (2, 3, 8, 16, 4) and shape((16, 32), 8) == (2, 3, 4, 8, 4)
    assert shape((32, 16), 8) == (2, 3, 8, 4, 4)
    assert shape((16, 16), 8) == (2, 3, 4, 4, 4)  # an example of a validation


def run_of(task=STAGE_2, buckets=BUCKETS, **data) -> RunConfig:
    data = DataConfig(dataset="clips", num_frames=3, resolution=16, buckets=buckets, **data)
    return RunConfig(MICRO, task, 8, 4, data=data)


def test_sizes_that_networks_cannot_have_are_refused_with_those_that_work():
    check_buckets(run_of())
    message = (
        "data.buckets has 16x30, whose side of 30 is 15 pixels for the network at 8 pixels "
        r"\(data.resolution is 16\), expected a multiple of 2, as a side of 28 or 32 is"
    )
    with pytest.raises(UserError, match=message):
        check_buckets(run_of(buckets=((16, 30),)))
    with pytest.raises(UserError, match="15.5 pixels .* as a side of 28 or 32 is"):
        check_buckets(run_of(buckets=((31, 16),)))


@pytest.mark.parametrize("task", [FlowTaskConfig(), VideoDecoderTaskConfig()])
def test_tasks_of_squares_refuse_buckets(task):
    with pytest.raises(UserError, match="data.buckets: a run of .* trains on squares; only"):
        check_buckets(run_of(task))


def test_a_plan_is_of_the_largest_bucket():
    config = run_of(buckets=((16, 16), (16, 32)))
    assert batch_shapes(config)["video"].shape == (4, 3, 16, 32, 3)
    cached = dataclasses.replace(config, data=dataclasses.replace(config.data, latent_cache="c"))
    assert batch_shapes(cached)["latents_8"].shape == (4, 3, 4, 8, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bucketed")
    sizes = [(32, 64), (64, 32)]
    records = [numbered_record(f"clip {i}", 20 + i, h=h, w=w) for i in range(6) for h, w in sizes]
    write_dataset(folder / "clips", [*records, numbered_record("held out", 24)])
    cached_training.write_model(folder / "model")
    return folder


def bucketed(folder: Path, cache: Path | str = "") -> RunConfig:
    return cached_training.run_of(STAGE_2, folder, cache, buckets=BUCKETS)


def test_caches_by_bucket_have_the_windows_of_the_run(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(making, "frozen_encoders", cached_training.quick_encoders)
    options = dataclasses.replace(cached_training.OPTIONS, resolution=16, buckets=BUCKETS)
    info = make_cache(str(folder / "clips"), folder / "model", tmp_path / "cache", options)
    assert info["clips"] == 12 and info["epochs"] == 3
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["16x32", "32x16"]
    config = bucketed(folder, tmp_path / "cache")
    cache = open_cache(config, folder / "model")
    assert cache is not None and len(cache) == 12
    cached, pixels = cached_source(config, cache), make_source(config, "train")
    assert isinstance(cached, Buckets) and isinstance(pixels, Buckets)
    for there, here in zip(cached.sources, pixels.sources, strict=True):
        for index in range(len(here)):
            example, clip = there.at(index, 1), here.at(index, 1)
            assert (example["index"], example["fps"]) == (clip["index"], clip["fps"])
            # The stand-in of the networks encodes a frame to the mean of its pixels.
            expected = clip["video"].mean(axis=(1, 2, 3))
            np.testing.assert_allclose(example["latents_8"][:, 0, 0, 0], expected, rtol=1e-5)
    assert cached.sources[0].at(0, 0)["latents_8"].shape == (3, 4, 8, 4)
    other = dataclasses.replace(config.data, buckets=((16, 32), (32, 16), (16, 16)))
    with pytest.raises(UserError, match="windows/buckets/2/0: None there, 16 now"):
        open_cache(dataclasses.replace(config, data=other), folder / "model")


def test_a_bucket_with_fewer_clips_than_a_batch_is_refused(folder: Path):
    config = dataclasses.replace(bucketed(folder), batch_size=8)
    with pytest.raises(UserError, match="bucket 16x32: 6 clips to train on are fewer than a batch"):
        make_source(config, "train")


@pytest.mark.slow  # compiles the step of a stage four times
def test_a_stage_trains_on_buckets_from_pixels_and_from_caches(folder: Path, tmp_path: Path):
    options = dataclasses.replace(cached_training.OPTIONS, resolution=16, buckets=BUCKETS)
    make_cache(str(folder / "clips"), folder / "model", tmp_path / "cache", options)
    task, losses = CascadeTaskConfig(1), []
    for cache in ("", tmp_path / "cache"):
        config = cached_training.run_of(task, folder, cache, buckets=BUCKETS)
        losses.append(cached_training.train(config, folder / "model", "stage_1", 4)[0])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert np.isfinite(losses).all() and len(set(losses[0].tolist())) == 4
