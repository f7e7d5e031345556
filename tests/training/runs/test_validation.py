"""Validation of runs: every task, best checkpoints, resuming, caches, and what may change."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import cached_training, micro_model
from tests.support.mean_task import run_config
from tests.support.micro_model import TOKENIZER
from tests.support.numbered_clips import numbered_record, write_dataset
from tests.support.run_directories import begin_run
from tests.training.runs.test_run import PARTS
from tests.training.runs.test_run import _config as part_config
from videogen_jax import layout, sharding
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.checkpoints.files import find_best
from videogen_jax.training.checkpoints.manifest import write_manifest
from videogen_jax.training.config import LoopConfig, ValidationConfig
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import held_out_source
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.runs.validation import batch_size, make_validation
from videogen_jax.weights.model_dir import load_component

ONE = jax.devices()[:1]
RTOL = 1e-5
RTOL_OF_NETWORKS = 1e-3


def validating(config: RunConfig, examples: int = 5, every: int = 2, **loop) -> RunConfig:
    loop = dataclasses.replace(config.loop, validate_every=every, sample_every=0, **loop)
    return dataclasses.replace(config, loop=loop, validation=ValidationConfig(examples=examples))


def metrics(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def losses(run_dir: Path) -> dict[int, float]:
    """Returns the validation losses by step."""
    return {row["step"]: row["val/loss"] for row in metrics(run_dir) if "val/loss" in row}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a model directory, `model`, and a run of the toy task, `run`."""
    folder = tmp_path_factory.mktemp("validation")
    cached_training.write_model(folder / "model")
    train_run(validating(run_config(), keep_checkpoints=1), folder / "run", folder / "model", ONE)
    yield folder


def test_a_run_is_validated_at_its_start_in_between_and_at_its_end(folder: Path):
    assert list(losses(folder / "run")) == [0, 2, 4]
    rows = [row for row in metrics(folder / "run") if "loss" in row]
    assert all(row["time_validation"] > 0 for row in rows)


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(folder: Path, tmp_path: Path):
    """Not of the training loss, by which the last one would be the best."""
    run_dir, model = folder / "run", tmp_path / "model"
    validated = losses(run_dir)
    assert validated[2] < validated[4]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == ["2", "4"]
    assert find_best(run_dir, "val/loss") == (run_dir / "checkpoints" / "2", validated[2])
    export_run(run_dir, model, best=True)
    best = load_component(model, "mean")["mean"]
    export_run(run_dir, model, step=2)
    np.testing.assert_array_equal(load_component(model, "mean")["mean"], best)
    export_run(run_dir, model)
    assert not np.array_equal(load_component(model, "mean")["mean"], best)
    with pytest.raises(UserError, match="the best checkpoint and that of step 4 are both asked"):
        export_run(run_dir, model, best=True, step=4)


def test_a_damaged_best_checkpoint_is_not_used(folder: Path, tmp_path: Path, capsys):
    run_dir = shutil.copytree(folder / "run", tmp_path / "run")
    best = run_dir / "checkpoints" / "2" / "meta" / "metadata"
    best.write_text(best.read_text() + " ")
    assert find_best(run_dir, "val/loss")[0].name == "4"
    assert "checkpoint of step 2 is not used" in capsys.readouterr().err
    (run_dir / "checkpoints" / "4" / "meta" / "metadata").write_text("{")
    with pytest.raises(MissingFile, match="no intact checkpoint there has the metric 'val/loss'"):
        find_best(run_dir, "val/loss")
    write_manifest(run_dir / "checkpoints" / "2")
    assert find_best(run_dir, "val/loss")[0].name == "2"


def test_a_run_resumes_with_the_same_losses(folder: Path, tmp_path: Path):
    run_dir = shutil.copytree(folder / "run", tmp_path / "run")
    shutil.rmtree(run_dir / "checkpoints" / "4")
    (run_dir / "metrics.jsonl").unlink()
    train_run(validating(run_config(), keep_checkpoints=1), run_dir, folder / "model", ONE)
    assert losses(run_dir) == {4: losses(folder / "run")[4]}
    assert find_best(run_dir, "val/loss")[0].name == "2"


def test_other_seeds_and_devices_have_the_same_validation(folder: Path, tmp_path: Path):
    """At step 0 the parameters are the same; 5 examples are filled up to 8 for 4 devices."""
    config = dataclasses.replace(validating(run_config()), seed=3, steps=1)
    train_run(config, tmp_path / "run", folder / "model", jax.devices()[:4])
    here, there = losses(tmp_path / "run"), losses(folder / "run")
    np.testing.assert_allclose(here[0], there[0], rtol=RTOL)
    assert list(here) == [0, 1]


def test_a_run_on_clips_validates_those_it_holds_back_or_another_dataset(folder: Path):
    records = [numbered_record(f"clip {i}", 20 + i) for i in range(12)]
    clips = write_dataset(folder / "clips", records)
    others = write_dataset(folder / "others", records[:3])
    config = validating(run_config(dataset=str(clips), fps=8.0))
    source = held_out_source(config, 5, seed=0)
    assert [int(example["index"]) for example in source] == [11]
    settings = dataclasses.replace(config.validation, dataset=str(others))
    config = dataclasses.replace(config, validation=settings)
    assert [int(example["index"]) for example in held_out_source(config, 5, 0)] == [0, 1, 2]
    with pytest.raises(UserError, match="none of its 3 clips has 99 frames"):
        data = dataclasses.replace(config.data, num_frames=99)
        held_out_source(dataclasses.replace(config, data=data), 5, 0)
    with pytest.raises(UserError, match="validation.dataset is 'x', but the run trains on the"):
        dataclasses.replace(run_config(), validation=ValidationConfig(dataset="x"))


def test_a_run_from_a_latent_cache_validates_pixels(folder: Path, tmp_path: Path):
    options = CacheOptions(num_frames=2, resolution=16, examples=16)
    make_cache("shapes", folder / "model", tmp_path / "cache", options, ONE)
    config = validating(run_config(latent_cache=str(tmp_path / "cache")))
    train_run(dataclasses.replace(config, steps=2), tmp_path / "run", folder / "model", ONE)
    here, there = losses(tmp_path / "run"), losses(folder / "run")
    np.testing.assert_allclose([here[0], here[2]], [there[0], there[2]], rtol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validate_every": -1}, "loop.validate_every is -1"),
        ({"best_metric": "val/psnr"}, "best_metric is 'val/psnr', but nothing is validated"),
        (
            {"validate_every": 300},
            "validate_every is 300 and loop.checkpoint_every 1000, expected one to be a multiple",
        ),
    ],
)
def test_settings_that_choose_no_best_checkpoint_are_errors(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        LoopConfig(**fields)
    assert LoopConfig().best == "loss"
    assert LoopConfig(validate_every=500).best == "val/loss"
    assert LoopConfig(validate_every=300, best_metric="loss").best == "loss"
    assert LoopConfig(validate_every=300, keep_best=0).validate_every == 300


def test_what_is_validated_may_change_until_it_is(tmp_path: Path):
    config = run_config()
    begin_run(tmp_path, config)
    begin_run(tmp_path, validating(config))
    with pytest.raises(UserError, match="validation/examples: 5 there, 6 now"):
        begin_run(tmp_path, validating(config, 6))
    begin_run(tmp_path, validating(config, every=4))


def test_a_device_has_at_most_a_micro_batch_at_a_time():
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:4])
    config = validating(run_config(), 100)
    task = type("Task", (), {"validation_group": 1})()
    assert batch_size(config, task, mesh) == 8  # 2 on each device, as in training
    many = dataclasses.replace(config, batch_size=4096)
    assert batch_size(many, task, mesh) == 100
    large = dataclasses.replace(many, data=dataclasses.replace(many.data, resolution=2048))
    assert batch_size(large, task, mesh) == 4
    task.validation_group = 32
    assert batch_size(config, task, mesh) == 128


# On one device, and on 2 × 2 that share batch and clips and have other batches. A task compiles for
# up to a minute.
@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_task_validates_the_same_on_any_devices(tmp_path: Path, part: str):
    cached_training.write_model(tmp_path)
    config = validating(part_config(part), 3)
    task = build_task(config, tmp_path, TOKENIZER)
    if part in ("text-encoder", "video-decoder"):  # which also train what they discard
        params = jax.jit(task.init)(jax.random.key(0))
    else:
        params = micro_model.params()[config.task.component()]
    found = []
    for sizes in ((1, 1, 1), (2, 1, 2)):
        mesh = sharding.make_mesh(MeshConfig(*sizes), jax.devices()[: np.prod(sizes)])
        with layout.activate(mesh):
            validation = make_validation(config, task, TOKENIZER, mesh)
            trees = params, task.frozen
            placed = sharding.put_tree(trees, sharding.tree_shardings(mesh, trees))
            found.append(validation(*placed))
    assert found[0]["val/loss"] > 0
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=RTOL_OF_NETWORKS, err_msg=name)
