"""Training of every part of a model through the production path.

Each part trains from a model directory of random parameters, is resumed from its middle, and must
end with the same state, bit for bit.
"""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import mean_task
from tests.support.micro_model import MICRO, TOKENIZER, TOKENIZER_DIR, params
from tests.support.numbered_clips import numbered_record, write_dataset
from tests.support.run_directories import begin_run
from videogen_jax.configs import RUNS
from videogen_jax.pipeline.model_files import save_model
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.export import copy_tokenizer, export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.step import TrainState
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.weights import model_dir

SAMPLES = {  # kinds of files by part; the other parts write none here
    "autoencoder": ("png",),
    "image": ("png",),
    "stage-2": ("mp4", "png"),
    "refiner": ("mp4", "png"),
}
PARTS = [name.removeprefix("tiny-") for name in RUNS if name.startswith("tiny-")]
PARTS.remove("stage-3")  # the smallest model has two stages


def _config(part: str) -> RunConfig:
    """Returns the tiny preset with the smallest model, which compiles in half the time."""
    config = RUNS[f"tiny-{part}"]
    task = config.task
    match task:
        case AutoencoderTaskConfig():
            task = dataclasses.replace(task, resolutions=(16,))
        case RefinerTaskConfig():
            task = dataclasses.replace(task, warm_start="stage_2")
    config = dataclasses.replace(config, model=MICRO, task=task)
    data = dataclasses.replace(config.data, examples=32, resolution=16)
    sample_every = 4 if part in SAMPLES else 0
    loop = dataclasses.replace(
        config.loop, checkpoint_every=2, log_every=1, sample_every=sample_every
    )
    return dataclasses.replace(config, data=data, loop=loop)


# A part takes half a minute, nearly all of it for compilation. One loop trains and resumes all of
# them, and below a toy task by it. A stage trains in tests/commands/test_train_parts.py, and
# tests/training/tasks has the tasks of all parts.
every_part = pytest.mark.parametrize("name", PARTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for runs, and a model directory `model` with random parameters."""
    folder = tmp_path_factory.mktemp("runs")
    save_model(folder / "model", MICRO, TOKENIZER, params())
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Callable[[str], TrainState]:
    """A function that trains a part in `folder` once and returns its last state."""
    return functools.cache(
        lambda name: train_run(_config(name), folder / name, folder / "model", jax.devices()[:1])
    )


@pytest.mark.slow
@every_part
def test_resumed_equals_uninterrupted(
    folder: Path, trained: Callable[[str], TrainState], tmp_path: Path, name: str
):
    uninterrupted = trained(name)
    assert int(uninterrupted.step) == 4
    shutil.copytree(folder / name, tmp_path / name)
    shutil.rmtree(tmp_path / name / "checkpoints" / "4")
    resumed = train_run(_config(name), tmp_path / name, folder / "model", jax.devices()[:1])
    jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)


@pytest.mark.slow
@every_part
def test_a_run_leaves_its_metrics_and_samples(
    folder: Path, trained: Callable[[str], TrainState], name: str
):
    trained(name)
    assert_metrics_and_samples(folder / name, SAMPLES.get(name, ()))


def assert_metrics_and_samples(run_dir: Path, kinds: tuple[str, ...]) -> None:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert all("loss" in json.loads(line) for line in lines)
    samples = sorted(path.name for path in (run_dir / "samples").iterdir())
    assert samples == [f"step_00000004.{kind}" for kind in kinds]


@pytest.mark.slow  # it trains every part once more; the quick tests train two of them
def test_the_parts_trained_in_order_make_a_complete_model_directory(tmp_path: Path):
    copy_tokenizer(TOKENIZER_DIR, tmp_path / "model")
    for name in PARTS:
        train_run(_config(name), tmp_path / name, tmp_path / "model", jax.devices()[:1])
        export_run(tmp_path / name, tmp_path / "model")
    assert model_dir.list_components(tmp_path / "model") == sorted(
        ["text_encoder", "autoencoder", "image_unet", "stage_1", "stage_2"]
        + ["flow", "refiner", "video_decoder"]
    )


def test_a_run_on_real_clips_resumes_within_an_epoch(folder: Path, tmp_path: Path):
    records = [numbered_record(f"clip {i}", 20 + i) for i in range(12)]
    dataset = write_dataset(tmp_path / "clips", records)
    config = mean_task.run_config(dataset=str(dataset), fps=8.0)
    uninterrupted = train_run(config, tmp_path / "run", folder / "model", jax.devices()[:1])
    assert_metrics_and_samples(tmp_path / "run", ("png",))
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    resumed = train_run(config, tmp_path / "run", folder / "model", jax.devices()[:1])
    jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)
    shutil.copytree(folder / "model", tmp_path / "model")
    shutil.rmtree(dataset)
    assert export_run(tmp_path / "run", tmp_path / "model") == ["mean"]


def test_a_run_directory_of_another_configuration_is_refused(folder: Path, tmp_path: Path):
    begun = _config("autoencoder")
    begin_run(tmp_path, begun)
    other = dataclasses.replace(begun, batch_size=16)
    with pytest.raises(ValueError, match=r"another configuration.*\n  batch_size: 8 there, 16 now"):
        train_run(other, tmp_path, folder / "model")


def test_a_run_may_continue_with_other_steps_and_another_mesh(tmp_path: Path):
    begun = _config("stage-1")
    begin_run(tmp_path, begun)
    begin_run(tmp_path, dataclasses.replace(begun, steps=9, mesh=MeshConfig(data=1, fsdp=4)))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("stage-1", {"mesh": MeshConfig(1, 1, 8)}, "clips of 4 frames are not divisible by"),
        ("stage-1", {"batch_size": 6}, r"batch of 6 \(batch_size\) is not divisible by"),
        ("stage-1", {"mesh": MeshConfig(3)}, "does not multiply to the 8 devices"),
    ],
)
def test_what_the_mesh_does_not_divide_is_refused_immediately(
    folder: Path, tmp_path: Path, name: str, fields: dict[str, Any], message: str
):
    config = dataclasses.replace(_config(name), **fields)
    with pytest.raises(ValueError, match=message):
        train_run(config, tmp_path / "run", folder / "model")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # tests/training/test_parallel_training.py trains a stage on eight devices
def test_eight_devices_train_as_one(
    folder: Path, trained: Callable[[str], TrainState], tmp_path: Path
):
    one = _config("flow")  # the part that compiles fastest
    sharded = dataclasses.replace(one, mesh=MeshConfig(data=2, fsdp=4))
    state = train_run(sharded, tmp_path / "sharded", folder / "model")
    expected = trained("flow").ema
    for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # Adam amplifies differences in rounding
