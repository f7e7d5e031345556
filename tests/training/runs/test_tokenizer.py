"""The tokenizer of a run's model directory: which one is copied, and when none is."""

import dataclasses
import shutil

import pytest

from tests.support.micro_model import TOKENIZER_DIR
from videogen_jax.configs import MODELS
from videogen_jax.training.runs.tokenizer import tokenizer_of

FILES = sorted(path.name for path in TOKENIZER_DIR.iterdir())


@pytest.mark.parametrize("name", ["shapes", "tiny"])
def test_a_new_directory_receives_the_tokenizer_of_the_shapes(tmp_path, capfd, name):
    tokenizer = tokenizer_of(MODELS[name], tmp_path / "model")
    assert tokenizer(["a red circle"], 24)[0, 0] == MODELS[name].text_encoder.vocab_size - 2
    target = tmp_path / "model" / "tokenizer"
    assert sorted(path.name for path in target.iterdir()) == FILES
    printed = capfd.readouterr().out
    assert printed == f"{target}: copied the tokenizer of the shapes' captions\n"
    tokenizer_of(MODELS[name], tmp_path / "model")
    assert capfd.readouterr().out == ""


def test_a_directory_keeps_its_own(tmp_path):
    shutil.copytree(TOKENIZER_DIR, tmp_path / "tokenizer")
    merges = tmp_path / "tokenizer" / "merges.txt"
    merges.write_text(merges.read_text())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tokenizer").iterdir()}
    tokenizer_of(MODELS["tiny"], tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("name", ["paper", "small"])
def test_a_model_of_another_vocabulary_needs_its_own(tmp_path, name):
    message = rf"model/tokenizer: the model directory has no tokenizer.*{name}.*stable-diffusion"
    with pytest.raises(FileNotFoundError, match=message):
        tokenizer_of(MODELS[name], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_no_tokenizer_is_copied_beside_a_text_encoder(tmp_path):
    """Its vocabulary may be another one of the same size."""
    (tmp_path / "text_encoder.safetensors").touch()
    with pytest.raises(FileNotFoundError, match="the model directory has no tokenizer"):
        tokenizer_of(MODELS["tiny"], tmp_path)


def test_an_own_model_with_other_ids_receives_none(tmp_path):
    text_encoder = dataclasses.replace(MODELS["tiny"].text_encoder, eos_token_id=1)
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        tokenizer_of(dataclasses.replace(MODELS["tiny"], text_encoder=text_encoder), tmp_path)
