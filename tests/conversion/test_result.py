"""What conversion accepts loads and samples: the tokenizer is completed, the result is checked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.torch_stable_diffusion import (
    MAX_LENGTH,
    MERGES,
    SD1,
    VOCAB,
    build_models,
    save_folder,
)
from videogen_jax import VideoGen
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.result import check_model, check_samplers, write_tokenizer
from videogen_jax.conversion.stable_diffusion import (
    ConversionOptions,
    convert_stable_diffusion,
    describe_conversion,
)
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.tokenizer import END_TOKEN, load_tokenizer, save_clip_format

END = VOCAB[END_TOKEN]
TEXT = TextEncoderConfig(vocab_size=len(VOCAB), max_length=MAX_LENGTH, eos_token_id=END)
TEXT_FILE = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("result") / "source"
    save_folder(build_models(SD1), SD1, folder)
    return folder


@pytest.fixture(scope="module")
def plain_model(plain) -> Path:
    convert_stable_diffusion(plain, plain.parent / "model", PAPER)
    return plain.parent / "model"


@pytest.fixture
def source(plain, tmp_path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "source"))


@pytest.fixture
def model(plain_model, tmp_path) -> Path:
    return Path(shutil.copytree(plain_model, tmp_path / "model"))


@pytest.fixture
def tokenizer(tmp_path) -> Path:
    save_clip_format(tmp_path / "tokenizer", VOCAB, MERGES, MAX_LENGTH)
    return tmp_path / "tokenizer"


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: v for name, v in content.items() if v is not ...}))


def add_tokens(source: Path, tokens: int, embeddings: int) -> None:
    """Adds tokens to the tokenizer and rows to the embedding, as textual inversion does."""
    names = {f"<token-{i}>": len(VOCAB) + i for i in range(tokens)}
    (source / "tokenizer" / "added_tokens.json").write_text(json.dumps(names))
    weights = load_file(source / TEXT_FILE)
    key = "embeddings.token_embedding.weight"
    weights[key] = np.concatenate([weights[key], weights[key][:embeddings] + 1])
    save_file(weights, source / TEXT_FILE)
    edit(source / "text_encoder" / "config.json", vocab_size=len(VOCAB) + embeddings)


@pytest.mark.parametrize(("tokens", "embeddings"), [(2, 2), (1, 8)])
def test_added_tokens_convert_to_a_model_that_loads(source, tmp_path, tokens, embeddings):
    add_tokens(source, tokens, embeddings)
    convert_stable_diffusion(source, tmp_path / "model", PAPER)
    loaded = VideoGen.load(tmp_path / "model")
    assert loaded.config.text_encoder.vocab_size == len(VOCAB) + embeddings
    assert loaded.config.text_encoder.eos_token_id == loaded.tokenizer.end_id == END
    row_T = loaded.tokenizer(["a <token-0>"])[0]
    assert list(row_T[:4]) == [END - 1, VOCAB["a</w>"], len(VOCAB), END]


def test_added_tokens_without_embeddings_are_refused(source, tmp_path):
    add_tokens(source, 2, 1)
    with pytest.raises(ValueError, match="has 526 tokens, end-of-text 523; expected the text"):
        convert_stable_diffusion(source, tmp_path / "model", PAPER)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("length", [..., None, 10**30, 78, "77", 1])
def test_the_length_of_the_text_encoder_is_taken(tokenizer, tmp_path, length):
    edit(tokenizer / "tokenizer_config.json", model_max_length=length)
    (note,) = write_tokenizer(tokenizer, tmp_path / "copy", TEXT, None)
    assert "model_max_length of the tokenizer is" in note
    assert load_tokenizer(tmp_path / "copy").max_length == MAX_LENGTH


def test_a_tokenizer_that_fits_is_copied_as_it_is(tokenizer, tmp_path):
    assert write_tokenizer(tokenizer, tmp_path / "copy", TEXT, END) == ()
    for path in tokenizer.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("own", "pad_id"), [(END_TOKEN, 0), ("!", END)])
@pytest.mark.parametrize("has_map", [True, False])
def test_the_padding_becomes_that_of_the_text_encoder(tokenizer, tmp_path, own, pad_id, has_map):
    edit(tokenizer / "tokenizer_config.json", pad_token=own)
    edit(tokenizer / "special_tokens_map.json", pad_token=own)
    if not has_map:
        (tokenizer / "special_tokens_map.json").unlink()
    (note,) = write_tokenizer(tokenizer, tmp_path / "copy", TEXT, pad_id)
    assert f"the tokenizer pads with {own!r}" in note
    assert load_tokenizer(tmp_path / "copy").pad_id == pad_id
    assert load_tokenizer(tokenizer).pad_id == (END if pad_id == 0 else 0)


def cut_weights(model: Path) -> None:
    path = model / "autoencoder.safetensors"
    weights = load_file(path)
    del weights["quant_conv/bias"]
    save_file(weights, path)


def other_tokenizer(model: Path) -> None:
    text = json.loads((model / "config.json").read_text())["text_encoder"]
    edit(model / "config.json", text_encoder=text | {"eos_token_id": 1})


def no_merges(model: Path) -> None:
    (model / "tokenizer" / "merges.txt").unlink()


def damaged_merges(model: Path) -> None:
    (model / "tokenizer" / "merges.txt").write_bytes(b"#version\n\xff\xfe\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_weights, "autoencoder"),
        (other_tokenizer, "text encoder 524, end-of-text 1"),
        (no_merges, "merges.txt"),
        (damaged_merges, "tokenizer"),
    ],
)
def test_a_model_that_does_not_load_is_found(model, damage, message):
    check_model(model)
    damage(model)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_model(model)


def test_a_sampler_that_cannot_take_its_steps_is_refused(source, tmp_path):
    edit(source / "scheduler" / "scheduler_config.json", steps_offset=500)
    for convert in (
        lambda: convert_stable_diffusion(source, tmp_path / "model", PAPER),
        lambda: describe_conversion(source, PAPER, ConversionOptions(), print),
    ):
        with pytest.raises(ValueError, match="steps_offset 500 cannot take 50 steps of 1000"):
            convert()
    assert not (tmp_path / "model").exists()
    check_samplers(replace(PAPER))


def test_a_dry_run_checks_the_tokenizer(source, tmp_path):
    damaged_merges(source)
    with pytest.raises(ValueError, match="tokenizer"):
        describe_conversion(source, PAPER, ConversionOptions(), print)
