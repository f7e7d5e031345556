"""Loading of model directories by the public class, and what is said of other folders."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import UserError, VideoGen
from videogen_jax.configs import RUNS
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.manifest import read_manifest, record_files, write_manifest
from videogen_jax.weights.model_dir import save_component

PROMPT = "a red circle"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The model directory of the micro model."""
    directory = tmp_path_factory.mktemp("models") / "micro"
    for name, params in micro_model.params().items():
        save_component(directory, name, params)
    save_config(directory / "config.json", MICRO)
    shutil.copytree(micro_model.TOKENIZER_DIR, directory / "tokenizer")
    record_files(directory)
    return directory


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """A copy of the model directory for a test to damage."""
    return Path(shutil.copytree(saved, tmp_path / "broken"))


def test_a_model_directory_is_loaded(saved):
    loaded = VideoGen.load(saved)
    assert loaded.config == MICRO
    assert loaded.tokenizer.vocab_size == micro_model.TOKENIZER.vocab_size
    jax.tree.map(np.testing.assert_array_equal, loaded.params, micro_model.params())
    assert VideoGen.load(str(saved)).config == MICRO


@pytest.mark.parametrize(
    ("component", "options", "needs"),
    [
        ("video_decoder", {}, "decoder='video'"),
        ("flow", {}, "temporal_sr with interpolation='flow'"),
        ("refiner", {}, "temporal_sr with refine=True"),
        ("stage_2", {}, "stage 2"),
        ("image_unet", {}, "a call without a reference image"),
        ("text_encoder", {"stages": 1, "decoder": "image"}, "every call"),
    ],
)
def test_a_missing_component_is_named_by_the_calls_that_need_it(copy, component, options, needs):
    (copy / f"{component}.safetensors").unlink()
    entries = read_manifest(copy)
    write_manifest(copy, {name: entries[name] for name in entries if name != component})
    model = VideoGen.load(copy)
    with pytest.raises(FileNotFoundError) as caught:
        model(PROMPT, **options)
    message = f"{copy}: there is no {component}.safetensors, which {needs} needs"
    assert str(caught.value) == message


def test_an_unknown_name_lists_the_models_that_ship(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match="no model 'shape': expected a model directory or one of"
    ):
        VideoGen.load("shape")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "config.json").write_text("{}")
    monkeypatch.setattr("videogen_jax.pipeline.model_files._ASSETS", tmp_path)
    with pytest.raises(FileNotFoundError, match="one of the shipped models: blobs"):
        VideoGen.load("shape")


def test_a_damaged_file_is_named(copy):
    path = copy / "stage_1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"stage_1.safetensors is damaged"):
        VideoGen.load(copy)


def test_a_file_that_differs_from_the_manifest_is_named(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"num_steps": 3', '"num_steps": 5'))
    with pytest.raises(UserError, match="config.json is damaged: its content differs"):
        VideoGen.load(copy)


def test_a_component_of_other_sizes_is_named(copy):
    save_component(copy, "stage_1", micro_model.params()["stage_2"])
    with pytest.raises(ValueError) as caught:
        VideoGen.load(copy)
    assert "stage_1.safetensors does not fit the configuration" in str(caught.value)
    assert "conv_in/kernel has shape (3, 3, 12, 16), expected (3, 3, 8, 16)" in str(caught.value)


def test_an_unknown_field_is_named(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"num_frames"', '"num_frame"'))
    with pytest.raises(ValueError, match="unknown num_frame; ModelConfig has name, text_encoder"):
        VideoGen.load(copy)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run", "is the run directory of a training, .*`videogen export .*run MODEL_DIR`"),
        ("run/checkpoints/5", "is the run directory of a training, .*export .*run MODEL_DIR`"),
        ("diffusers", "is a folder of diffusers; `videogen convert stable-diffusion"),
        ("sd.ckpt", "expected a model directory .*; `videogen convert stable-diffusion"),
        ("owner/sd", "expected a model directory .*; `videogen convert stable-diffusion"),
        ("empty", "no configuration file .*empty/config.json"),
    ],
)
def test_what_is_not_a_model_directory_is_answered_with_what_to_do(
    tmp_path, monkeypatch, name, message
):
    monkeypatch.chdir(tmp_path)
    for folder in ("run/checkpoints/5", "diffusers", "empty"):
        Path(folder).mkdir(parents=True)
    save_config("run/config.json", RUNS["tiny-image"])
    Path("diffusers/model_index.json").write_text("{}")
    Path("sd.ckpt").touch()
    with pytest.raises(UserError, match=message):
        VideoGen.load(name)


def test_a_tilde_is_the_home_folder(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert read_model_config(f"~/{saved.name}") == (saved, MICRO)
