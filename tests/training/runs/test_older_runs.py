"""A run directory and a model directory of version 0.1.0, which can still be used unchanged.

`run_of_0_1_0.zip` contains `run/`, two steps of an autoencoder, and `model/`, its export.
"""

import dataclasses
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.model_dir import load_component

FILE = Path(__file__).parents[2] / "support" / "run_of_0_1_0.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FILE) as file:
        file.extractall(tmp_path)
    return tmp_path


def test_an_older_run_exports_what_it_did(folder: Path):
    before = load_component(folder / "model", "autoencoder")
    assert export_run(folder / "run", folder / "model") == ["autoencoder"]
    after = load_component(folder / "model", "autoencoder")
    # A different program standardises the latents, so the last layers may differ by rounding.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after, before)
    jax.tree.map(np.testing.assert_array_equal, after["decoder"], before["decoder"])


@pytest.mark.slow  # it compiles a whole step; the export above reads the same checkpoint
def test_an_older_run_continues(folder: Path):
    config = load_config(folder / "run" / "config.json", RunConfig)
    assert isinstance(config.task, AutoencoderTaskConfig)
    assert config.task.resolutions == (16, 8) and config.model.name == "micro"
    longer = dataclasses.replace(config, steps=3)
    state = train_run(longer, folder / "run", folder / "model", jax.devices()[:1])
    assert int(state.step) == 3 and int(state.skipped) == 0
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3  # two old ones and a new one
