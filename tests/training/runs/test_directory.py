"""A run directory belongs to a configuration from its first step on, and to one process."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.support import cached_training
from tests.support.mean_task import run_config
from tests.support.run_directories import begin_run
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.training import loop
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.directory import open_run_directory
from videogen_jax.training.runs.train import train_run
from videogen_jax.weights.config_file import load_config

ONE = jax.devices()[:1]
CONFIG = dataclasses.replace(run_config(), steps=1)


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_training.write_model(tmp_path_factory.mktemp("model"))


def test_a_start_that_fails_leaves_no_directory(model_directory: Path, tmp_path: Path):
    data = dataclasses.replace(CONFIG.data, dataset=str(tmp_path / "nowhere"))
    run_dir = tmp_path / "runs" / "run"
    with pytest.raises(MissingFile, match="no dataset folder"):
        train_run(dataclasses.replace(CONFIG, data=data), run_dir, model_directory, ONE)
    assert not run_dir.exists()
    with pytest.raises(MissingFile):
        train_run(CONFIG, run_dir, tmp_path / "no-model", ONE)
    assert not run_dir.exists()


def test_a_run_that_fails_in_its_first_step_may_be_changed(
    model_directory: Path, tmp_path: Path, monkeypatch
):
    def out_of_memory(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    with monkeypatch.context() as patch:
        patch.setattr(loop.jax, "block_until_ready", out_of_memory)
        with pytest.raises(jax.errors.JaxRuntimeError):
            train_run(CONFIG, tmp_path / "run", model_directory, ONE)
    weights = dataclasses.replace(CONFIG, init_from=str(tmp_path / "none"))
    with pytest.raises(MissingFile, match="no complete checkpoint"):
        train_run(weights, tmp_path / "run", model_directory, ONE)
    smaller = dataclasses.replace(CONFIG, batch_size=4)
    assert int(train_run(smaller, tmp_path / "run", model_directory, ONE).step) == 1
    assert load_config(tmp_path / "run" / "config.json", RunConfig) == smaller
    assert not (tmp_path / "run" / "lock").exists()
    with pytest.raises(UserError, match="batch_size: 4 there, 8 now"):
        train_run(CONFIG, tmp_path / "run", model_directory, ONE)


def test_a_second_process_does_not_train_there(model_directory: Path, tmp_path: Path):
    run_dir = tmp_path / "run"
    message = f"the run directory {run_dir} is in use by process {os.getpid()} on "
    with open_run_directory(run_dir, CONFIG) as begun:
        begun()
        with pytest.raises(UserError, match=message):
            train_run(CONFIG, run_dir, model_directory, ONE)


def test_only_the_main_process_locks_and_writes(tmp_path: Path, monkeypatch):
    with open_run_directory(tmp_path / "run", CONFIG):
        monkeypatch.setattr(jax, "process_index", lambda: 1)
        begin_run(tmp_path / "run", CONFIG)
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
        monkeypatch.undo()


def test_a_value_that_does_not_fit_is_refused_first(tmp_path: Path):
    wrong = dataclasses.replace(CONFIG, steps="many")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="run: steps is 'many', expected int"):
        begin_run(tmp_path / "run", wrong)
    assert not (tmp_path / "run").exists()


def test_an_empty_directory_that_was_there_stays(tmp_path: Path):
    with pytest.raises(RuntimeError), open_run_directory(tmp_path, CONFIG):
        raise RuntimeError
    assert tmp_path.is_dir() and not any(tmp_path.iterdir())
