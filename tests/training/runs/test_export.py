"""Where a run may be exported to, and what a new model directory has."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import cached_training
from tests.support.mean_task import run_config
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.pipeline import model_files
from videogen_jax.pipeline.model_files import load_model
from videogen_jax.training.checkpoints.files import find_checkpoint
from videogen_jax.training.checkpoints.manifest import write_manifest
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.model_dir import list_components, load_component, save_component


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one step, `run`, and its model directory, `model`."""
    folder = tmp_path_factory.mktemp("trained")
    cached_training.write_model(folder / "model")
    config = dataclasses.replace(run_config(), steps=1)
    train_run(config, folder / "run", folder / "model", jax.devices()[:1])
    return folder


@pytest.mark.parametrize("left", [None, [], ["config.json"]])
def test_a_new_directory_becomes_complete(trained: Path, tmp_path: Path, left: list[str] | None):
    """Also one in which a failed export of an earlier version left a lone `config.json`."""
    new = tmp_path / "folder" / "new"
    if left is not None:
        new.mkdir(parents=True)
        for name in left:
            shutil.copy(trained / "model" / name, new)
    assert export_run(trained / "run", new) == ["mean"]
    assert list_components(new) == sorted([*cached_training.NAMES, "mean"])
    loaded, own = load_model(new), load_model(trained / "model")
    assert loaded.config == own.config
    assert (
        loaded.tokenizer(["a red circle"], 8).tolist()
        == own.tokenizer(["a red circle"], 8).tolist()
    )
    jax.tree.map(np.testing.assert_array_equal, loaded.params, own.params)
    assert [path.name for path in new.parent.iterdir()] == ["new"]


def test_what_an_existing_directory_lacks_is_added_and_the_rest_stays(
    trained: Path, tmp_path: Path
):
    shutil.copytree(trained / "model" / "tokenizer", tmp_path / "tokenizer")
    own = {"bias": np.ones(3, np.float32)}
    save_component(tmp_path, "stage_1", own)
    export_run(trained / "run", tmp_path)
    assert list_components(tmp_path) == ["autoencoder", "mean", "stage_1"]  # one frozen component
    np.testing.assert_array_equal(load_component(tmp_path, "stage_1")["bias"], own["bias"])


def test_a_shipped_model_is_not_overwritten(trained: Path, tmp_path: Path, monkeypatch):
    shipped = shutil.copytree(trained / "model", tmp_path / "assets" / "shapes")
    monkeypatch.setattr(model_files, "_ASSETS", tmp_path / "assets")
    (tmp_path / "link").symlink_to(shipped)
    for target in (shipped, tmp_path / "link", shipped.parent / "other"):
        with pytest.raises(UserError, match="is the model that ships with this package"):
            export_run(trained / "run", target)
    assert list_components(shipped) == sorted(cached_training.NAMES)


def test_other_places_are_refused_and_left_alone(trained: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not a model directory: it has no config.json"):
        export_run(trained / "run", tmp_path)
    with pytest.raises(UserError, match="notes.txt is a file, expected a model directory"):
        export_run(trained / "run", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def moved_run(trained: Path, folder: Path, recorded: str | None) -> Path:
    """Returns a copy of the run whose checkpoint names another model directory, or none."""
    run = shutil.copytree(trained / "run", folder / "run")
    checkpoint = find_checkpoint(run)
    path = checkpoint / "meta" / "metadata"
    about = json.loads(path.read_text())
    assert about.pop("model_directory") == str(trained / "model")
    path.write_text(json.dumps(about | ({"model_directory": recorded} if recorded else {})))
    write_manifest(checkpoint)
    return run


@pytest.mark.parametrize(
    ("recorded", "message"),
    [("/nowhere", "/nowhere is gone"), (None, "is not recorded in its checkpoint")],
)
def test_a_source_that_is_not_known_can_be_named(
    trained: Path, tmp_path: Path, recorded: str | None, message: str
):
    run, new = moved_run(trained, tmp_path, recorded), tmp_path / "new"
    with pytest.raises(MissingFile, match=f"no tokenizer, autoencoder, and .*{message}.*--source"):
        export_run(run, new)
    assert not new.exists()
    export_run(run, new, source=trained / "model")
    assert "stage_1" in list_components(new)


def test_a_source_of_another_model_is_refused(trained: Path, tmp_path: Path):
    other = dataclasses.replace(run_config().model, name="other")
    save_config(tmp_path / "other" / "config.json", other)
    with pytest.raises(UserError, match="other/config.json: the model there is not the one of"):
        export_run(trained / "run", tmp_path / "new", source=tmp_path / "other")
    assert not (tmp_path / "new").exists()
