"""Creation of latent caches: damaged clips, the shapes, and caches and runs that are refused."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.data.latents.test_reader import contents
from tests.support import cached_training, micro_model
from tests.support.numbered_clips import numbered_record, write_dataset
from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.training.latents import making as caching
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.latents.opening import open_cache
from videogen_jax.training.runs import shapes_model
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.weights import config_file, model_dir

CLIPS = 12
STAGE_1, STAGE_2 = CascadeTaskConfig(1), CascadeTaskConfig(2)
REFINER = RefinerTaskConfig("stage_2")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching, "frozen_encoders", cached_training.quick_encoders)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    """A folder with `clips`, `model` and `cache`."""
    folder = tmp_path_factory.mktemp("refused")
    clips, model = (
        cached_training.write_clips(folder / "clips"),
        cached_training.write_model(folder / "model"),
    )
    make_cache(clips, model, folder / "cache", cached_training.OPTIONS)
    return folder


def test_a_damaged_clip_is_named_and_replaced(folder: Path, tmp_path: Path, capfd):
    records = [numbered_record(f"clip {i}", 20 + i) for i in range(CLIPS)]
    records[4] = dataclasses.replace(records[4], video=b"junk")
    dataset = write_dataset(tmp_path / "clips", records)
    options = dataclasses.replace(cached_training.OPTIONS, max_damaged=0.2)
    make_cache(str(dataset), folder / "model", tmp_path / "cache", options)
    source = LatentCache(tmp_path / "cache")
    assert [int(source[i]["index"]) for i in range(11)] == [0, 1, 2, 3, 5, 5, 6, 7, 8, 9, 10]
    assert "damaged clip 1 of 11, another takes its place" in capfd.readouterr().err
    with pytest.raises(ValueError, match="1 of 11 clips are damaged, more than max_damaged 0.01"):
        make_cache(str(dataset), folder / "model", tmp_path / "strict", cached_training.OPTIONS)
    assert not (tmp_path / "strict" / "info.json").exists()


def test_the_shapes_go_the_same_way(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Creates and reads a cache as `train.shapes` does, with 10 clips in one shard."""
    monkeypatch.setitem(shapes_model.CACHES, "image_unet", ("latents-images", 10))
    config = dataclasses.replace(
        RUNS["shapes-image"], model=micro_model.MICRO, batch_size=4, seed=3
    )
    with_cache = shapes_model._with_cache(config, tmp_path, folder / "model")
    source = open_cache(with_cache, folder / "model")
    assert source is not None and len(source) == 10
    pixels = make_source(with_cache, "train")
    for index in range(10):
        assert source[index]["fps"] == pixels[index]["fps"] and source[index]["index"] == index
        mean = np.float16(pixels[index]["video"].mean())
        np.testing.assert_allclose(source[index]["latents_16"], mean, rtol=2**-11)
    assert shapes_model._with_cache(config, tmp_path, folder / "model") == with_cache


# Errors


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"fps": 12.0}, "windows/fps: 8.0 there, 12.0 now"),
        ({"fps": None}, "windows/fps: 8.0 there, None now"),
        ({"num_frames": 2}, "windows/num_frames: 3 there, 2 now"),
        ({"resolution": 8}, "windows/resolution: 16 there, 8 now"),
        ({"random_crop": True}, "windows/random_crop: False there, True now"),
        ({"held_back": 7}, "windows/held_back: 8 there, 7 now"),
        ({"dataset": ""}, "windows/dataset: '[0-9a-f]{64}' there, 'shapes' now"),
    ],
)
def test_a_run_with_other_windows_is_refused(folder: Path, data: dict[str, Any], line: str):
    config = cached_training.run_of(STAGE_1, folder, folder / "cache", **data)
    with pytest.raises(
        ValueError, match=rf"does not match this run; differing fields:[^$]*\n  {line}"
    ):
        open_cache(config, folder / "model")


def test_a_run_with_another_seed_or_dataset_is_refused(folder: Path, tmp_path: Path):
    config = cached_training.run_of(STAGE_1, folder, folder / "cache")
    with pytest.raises(ValueError, match="fields:\n  windows/seed: 1 there, 2 now$"):
        open_cache(dataclasses.replace(config, seed=2), folder / "model")
    other = write_dataset(tmp_path / "other", [numbered_record(f"clip {i}") for i in range(12)])
    config = cached_training.run_of(STAGE_1, folder, folder / "cache", dataset=str(other))
    with pytest.raises(ValueError, match="fields:\n  windows/dataset: '.*' there, '.*' now$"):
        open_cache(config, folder / "model")
    moved = shutil.copytree(folder / "clips", tmp_path / "moved")
    config = cached_training.run_of(STAGE_1, folder, folder / "cache", dataset=str(moved))
    assert open_cache(config, folder / "model") is not None


def test_a_run_with_other_frozen_networks_is_refused(folder: Path, tmp_path: Path):
    """Compares weights by checksum, sizes and vocabulary; all differences are listed."""
    config = cached_training.run_of(STAGE_1, folder, folder / "cache")
    for name in ("autoencoder", "text_encoder"):
        other = shutil.copytree(folder / "model", tmp_path / name)
        changed = jax.tree.map(lambda x: x + 1, micro_model.params()[name])
        model_dir.save_component(other, name, changed)
        with pytest.raises(ValueError, match=f"fields:\n  networks/{name}_sha256: '.*now$"):
            open_cache(config, other)
    other = shutil.copytree(folder / "model", tmp_path / "tokenizer")
    merges = other / "tokenizer" / "merges.txt"
    merges.write_text(merges.read_text() + "q q\n")
    autoencoder = dataclasses.replace(micro_model.MICRO.autoencoder, scaling_factor=0.5)
    model = dataclasses.replace(micro_model.MICRO, autoencoder=autoencoder)
    fields = r"scaling_factor: 0.18215 there, 0.5 now\n  networks/tokenizer_sha256: '.*now$"
    with pytest.raises(ValueError, match=rf"fields:\n  networks/autoencoder/{fields}"):
        open_cache(dataclasses.replace(config, model=model), other)


def test_a_run_of_more_epochs_than_are_cached_is_reported(folder: Path, capfd):
    config = cached_training.run_of(STAGE_1, folder, folder / "cache")  # 32 of 33 windows
    open_cache(config, folder / "model")
    assert capfd.readouterr().err == ""
    open_cache(dataclasses.replace(config, steps=9), folder / "model")
    assert "cache: has windows of 3 epochs for a run of 4: they repeat" in capfd.readouterr().err


def test_a_refused_run_leaves_nothing_behind(folder: Path, tmp_path: Path):
    config = cached_training.run_of(STAGE_1, folder, folder / "cache", fps=12.0)
    with pytest.raises(ValueError, match="windows/fps"):
        train_run(config, tmp_path / "run", folder / "model")
    assert not (tmp_path / "run").exists()


def test_latents_that_are_not_cached_are_refused(folder: Path, tmp_path: Path):
    options = dataclasses.replace(cached_training.OPTIONS, resolutions=(16,))
    make_cache(str(folder / "clips"), folder / "model", tmp_path / "cache", options)
    config = cached_training.run_of(STAGE_2, folder, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"fields:\n  resolutions: \(16,\) there, \(8, 16\) now"):
        open_cache(config, folder / "model")
    refiner = cached_training.run_of(REFINER, folder, tmp_path / "cache")
    assert open_cache(refiner, folder / "model") is not None


@pytest.mark.parametrize("part", ["autoencoder", "text-encoder", "video-decoder"])
def test_parts_that_train_on_pixels_have_no_cache(folder: Path, part: str):
    config = cached_training.run_of(RUNS[f"tiny-{part}"].task, folder, folder / "cache")
    with pytest.raises(ValueError, match="data.latent_cache: a run of .* trains on pixels"):
        open_cache(config, folder / "model")


def test_mixtures_and_too_large_batches_are_refused(folder: Path):
    with pytest.raises(ValueError, match="latent_cache and mixture are both given"):
        DataConfig(latent_cache="a", mixture=(("b", 1.0),))
    config = dataclasses.replace(
        cached_training.run_of(STAGE_1, folder, folder / "cache"), batch_size=12
    )
    with pytest.raises(ValueError, match="11 clips to train on are fewer than a batch of 12"):
        open_cache(config, folder / "model")


def test_a_cache_begun_otherwise_is_refused_and_stays(folder: Path, tmp_path: Path):
    out = shutil.copytree(folder / "cache", tmp_path / "cache")
    other = dataclasses.replace(cached_training.OPTIONS, epochs=2, dtype="float16")
    lines = "  dtype: 'float32' there, 'float16' now\n  epochs: 3 there, 2 now$"
    with pytest.raises(ValueError, match=f"begun with another configuration; .*:\n{lines}"):
        make_cache(str(folder / "clips"), folder / "model", out, other)
    assert contents(out) == contents(folder / "cache")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "latents_64.npy").touch()
    with pytest.raises(ValueError, match=r"not of a latent cache of this version \(latents_64.npy"):
        make_cache(
            str(folder / "clips"), folder / "model", tmp_path / "full", cached_training.OPTIONS
        )


@pytest.mark.parametrize(
    ("options", "dataset", "message"),
    [
        (
            {"epochs": 2, "examples": 4},
            "shapes",
            "epochs is 2, but the shapes are the same in every epoch",
        ),
        ({"resolutions": (32,)}, "", "resolutions has 32, but .* denoisers .* at 8, 16 pixels"),
        ({"resolution": 8, "resolutions": (16,)}, "", "resolution is 8, but .* at 16 pixels"),
        ({"resolution": 4}, "", "resolution is 4, but latents are to be taken at 8, 16 pixels"),
        ({"num_frames": 90}, "", "none of its 11 train clips has 90 frames"),
    ],
)
def test_what_cannot_be_cached(
    folder: Path, tmp_path: Path, options: dict[str, Any], dataset: str, message: str
):
    clips, wanted = (
        dataset or str(folder / "clips"),
        dataclasses.replace(cached_training.OPTIONS, **options),
    )
    with pytest.raises(ValueError, match=message):
        make_cache(clips, folder / "model", tmp_path / "cache", wanted)
    assert not (tmp_path / "cache").exists()


def test_missing_parts_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="batch_size is 0, expected 1 or more"):
        CacheOptions(batch_size=0)
    with pytest.raises(FileNotFoundError, match="no dataset folder .*nowhere"):
        make_cache(str(tmp_path / "nowhere"), folder / "model", tmp_path / "cache")
    config_file.save_config(tmp_path / "model" / "config.json", micro_model.MICRO)
    with pytest.raises(FileNotFoundError, match="no component 'autoencoder'"):
        make_cache("shapes", tmp_path / "model", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
