"""Training from a latent cache equals training from pixels; any devices make the same cache."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.data.latents.test_reader import contents
from tests.support import cached_training, micro_model, tiny_model
from tests.support.processes import run_processes
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.data.loader import make_loader
from videogen_jax.training.latents.making import make_cache
from videogen_jax.training.latents.opening import open_cache
from videogen_jax.training.runs import train
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.task import TaskConfig
from videogen_jax.training.tasks import cascade, refiner, text_to_image
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig

LOSS_RTOL = 1e-6  # two compiled programs, which differ by rounding only
PARAMS_ATOL = 1e-6
NETWORK_TOLERANCE = 1e-4
EPOCHS = cached_training.OPTIONS.epochs
STAGE_1, STAGE_2 = CascadeTaskConfig(1), CascadeTaskConfig(2, low_res_noise=100)
REFINER, IMAGE = RefinerTaskConfig("stage_2"), TextToImageTaskConfig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `clips`, of which 11 are for training, `model` and `cache`."""
    folder = tmp_path_factory.mktemp("cached")
    clips, model = (
        cached_training.write_clips(folder / "clips"),
        cached_training.write_model(folder / "model"),
    )
    make_cache(clips, model, folder / "cache", cached_training.OPTIONS, jax.devices()[:1])
    return folder


# The same training


def test_a_run_from_the_cache_is_the_run_from_pixels(folder: Path):
    """Covers the three cached epochs, which differ in windows, captions, draws and order."""
    pixels, latents = (
        cached_training.run_of(IMAGE, folder, cache) for cache in ("", folder / "cache")
    )
    steps = 8
    assert 2 < steps * cached_training.BATCH / 11 < EPOCHS
    expected, params = cached_training.train(pixels, folder / "model", "image_unet", steps)
    losses, found = cached_training.train(latents, folder / "model", "image_unet", steps)
    np.testing.assert_allclose(losses, expected, rtol=LOSS_RTOL)
    assert len(set(expected)) == steps
    kernel, start = (
        params["conv_out"]["kernel"],
        micro_model.params()["image_unet"]["conv_out"]["kernel"],
    )
    np.testing.assert_allclose(found["conv_out"]["kernel"], kernel, rtol=0, atol=PARAMS_ATOL)
    assert np.abs(kernel - start).max() > 1000 * PARAMS_ATOL


@pytest.mark.parametrize(
    ("task", "module", "frames"),
    [
        (STAGE_2, cascade, slice(None)),
        (IMAGE, text_to_image, slice(1)),
        (REFINER, refiner, slice(1, None, 2)),
    ],
)
def test_every_network_receives_the_same_inputs_as_from_pixels(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: TaskConfig,
    module: ModuleType,
    frames: slice,
):
    """Half of the prompts are dropped, and latents are drawn from the posterior."""
    if not isinstance(task, RefinerTaskConfig):
        task = dataclasses.replace(task, text_dropout=0.5)
    seen = []
    for cache in ("", folder / "cache"):
        config = cached_training.run_of(dataclasses.replace(task, warm_start=""), folder, cache)
        source = open_cache(config, folder / "model")
        tokenizer = micro_model.TOKENIZER if source is None else None
        examples = make_source(config, "train") if source is None else source
        batch = next(make_loader(examples, 8, 1, tokenizer, 24))
        make = lambda: build_task(config, folder / "model", micro_model.TOKENIZER, source)
        with monkeypatch.context() as patch:
            seen.append(tiny_model.recorded(patch, module, make, batch))
    expected, found = seen
    assert expected.keys() == found.keys() and {"x0", "x", "text"} <= expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=NETWORK_TOLERANCE, err_msg=name)
    noise = (found["x0"] - batch["latents_16"][:, frames]) / batch["latents_std_16"][:, frames]
    assert abs(np.std(noise) - 1) < 0.1
    texts = {text.tobytes() for text in np.asarray(found["text"])}
    assert len(texts) > 2 or module is refiner


def test_float16_is_near(folder: Path, tmp_path: Path):
    """Converts the cache to float16 without encoding again."""
    half = tmp_path / "half"
    shutil.copytree(folder / "cache", half)
    for path in half.rglob("*.npy"):
        array = np.load(path)
        np.save(path, array.astype(np.float16) if array.dtype == np.float32 else array)
    info = json.loads((half / "info.json").read_text())
    del info["checksums"]  # of what was there before
    (half / "info.json").write_text(json.dumps({**info, "dtype": "float16"}))
    one, other = (LatentCache(cache).at(3, 2) for cache in (folder / "cache", half))
    for name, value in one.items():
        assert other[name].dtype == value.dtype
        np.testing.assert_allclose(other[name], value, rtol=2**-11, atol=2**-24)


class Weight:
    """The smallest task: it learns a weight for each latent channel from cached batches."""

    frozen: Any = {}

    def init(self, key: jax.Array) -> Any:
        return {"kernel": jnp.ones(4)}

    def warm_start(self, params: Any) -> Any:
        return params

    def loss(self, params: Any, frozen: Any, batch: Any, keys_B: jax.Array) -> Any:
        draw = batch["latents_8"] + batch["latents_std_8"] * jax.vmap(jax.random.normal)(
            keys_B
        ).reshape(-1, 1, 1, 1, 1)
        error_B = ((draw * params["kernel"]) ** 2).mean(axis=(1, 2, 3, 4))
        text_B = batch["text_states"].mean(axis=(1, 2)) * batch["text_pooled"].mean(axis=1)
        return (error_B * (2 + text_B) / batch["fps"]).mean(), {}


def test_a_run_resumes_within_an_epoch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Uses the production path except for the network. Step 4 of 6 is in the second epoch."""
    monkeypatch.setattr(train, "build_task", lambda *_: Weight())
    config = cached_training.run_of(STAGE_1, folder, folder / "cache")
    loop = dataclasses.replace(config.loop, checkpoint_every=2, log_every=1, sample_every=0)
    config = dataclasses.replace(config, steps=6, loop=loop)
    one = jax.devices()[:1]
    uninterrupted = train_run(config, tmp_path / "run", folder / "model", one)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    resumed = train_run(config, tmp_path / "run", folder / "model", one)
    jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines}
    assert len(lines) == 8 and len(set(losses.values())) == 6
    # On two devices, each of which takes half of every batch.
    pair = train_run(config, tmp_path / "pair", folder / "model", jax.devices()[:2])
    np.testing.assert_allclose(pair.params["kernel"], resumed.params["kernel"], rtol=1e-6)


# The same cache


def test_two_devices_make_the_same_cache(folder: Path, tmp_path: Path):
    arguments = (str(folder / "clips"), folder / "model", tmp_path / "cache")
    info = make_cache(*arguments, cached_training.OPTIONS, jax.devices()[:2])
    assert contents(tmp_path / "cache") == contents(folder / "cache")
    assert info["clips"] == 11 and info["latents"] == {"8": [3, 4, 4, 4], "16": [3, 8, 8, 4]}
    written = (tmp_path / "cache" / "info.json").stat().st_mtime_ns
    assert (
        make_cache(*arguments, cached_training.OPTIONS) == info
    )  # a second call has nothing to do
    assert (tmp_path / "cache" / "info.json").stat().st_mtime_ns == written


@pytest.mark.slow  # each process compiles the encoder; two processes train in the quick suite
def test_two_processes_make_the_same_cache(folder: Path, tmp_path: Path):
    arguments = [folder / "clips", folder / "model", tmp_path / "cache"]
    printed = run_processes(cached_training.__file__, arguments, tmp_path, processes=2, devices=1)
    assert contents(tmp_path / "cache") == contents(folder / "cache")
    # The first process reports its two of the four shards; the second is quiet.
    assert "18/18 " in printed[0] and "encoding" not in printed[1]
