"""Which model a run trains: the preset's, or after agreement that of the model directory."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_directories import begin_run
from videogen_jax.commands.train import parts
from videogen_jax.configs import RUNS
from videogen_jax.errors import UserError
from videogen_jax.training.runs import train
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.weights.config_file import save_config

RUN = RUNS["tiny-image"]


@pytest.fixture
def trained(monkeypatch) -> list[RunConfig]:
    """The configurations that reach the training loop, which does nothing."""
    runs: list[RunConfig] = []
    monkeypatch.setattr(train, "_train", lambda config, *_: runs.append(config))
    return runs


@pytest.fixture
def model_directory(tmp_path: Path) -> Path:
    """A directory of the shapes model, without components."""
    save_config(tmp_path / "model" / "config.json", RUNS["shapes-image"].model)
    return tmp_path / "model"


def test_another_model_than_the_presets_needs_agreement(
    trained: list[RunConfig], model_directory: Path, tmp_path: Path, caplog
):
    message = "config.json: the model there is 'shapes', .* is 'tiny'; .* add --model-from dir"
    with pytest.raises(UserError, match=message):
        train.train_run(RUN, tmp_path / "run", model_directory)
    assert trained == [] and not (tmp_path / "run").exists()
    with caplog.at_level("INFO", "videogen_jax"):
        train.train_run(RUN, tmp_path / "run", model_directory, model_from="dir")
    agreed = dataclasses.replace(RUN, model=RUNS["shapes-image"].model)
    assert trained == [agreed]
    assert f"run trains image_unet of the model 'shapes' ({model_directory})" in caplog.text


def test_a_run_that_has_begun_with_it_continues_without_the_option(
    trained: list[RunConfig], model_directory: Path, tmp_path: Path
):
    agreed = dataclasses.replace(RUN, model=RUNS["shapes-image"].model)
    begin_run(tmp_path / "run", agreed)
    train.train_run(RUN, tmp_path / "run", model_directory)
    assert trained == [agreed]


def test_a_run_does_not_continue_with_another_model(
    trained: list[RunConfig], model_directory: Path, tmp_path: Path
):
    begin_run(tmp_path / "run", RUN)
    for model_from in ("preset", "dir"):
        with pytest.raises(UserError, match="name: 'tiny' there, 'shapes' now"):
            train.train_run(RUN, tmp_path / "run", model_directory, model_from=model_from)
    assert trained == []


def test_the_command_line_has_the_option(monkeypatch, tmp_path: Path):
    seen: list[Any] = []
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "train_run", lambda *_, **options: seen.append(options))
    line = ["tiny-image", "--run-dir", str(tmp_path), "--model-dir", str(tmp_path)]
    for added in ([], ["--model-from", "dir"]):
        parts.text_to_image("train", line + added)
    assert [options["model_from"] for options in seen] == ["preset", "dir"]
