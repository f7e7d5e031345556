"""The vocabulary of a tokenizer's files, and whether it fits a text encoder."""

import json
from pathlib import Path
from typing import Any

import pytest

from videogen_jax.vocabulary import END_TOKEN, START_TOKEN, end_of_text

VOCAB = {"a": 0, "b": 1, START_TOKEN: 2, END_TOKEN: 3}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "vocab.json").write_text(json.dumps(VOCAB))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    return tmp_path


def decoder(**ids: int) -> dict[str, Any]:
    return {str(i): {"content": name} for name, i in ids.items()}


def test_end_of_text_may_be_followed_by_added_tokens(folder):
    assert end_of_text(folder, 4, None) == 3
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": 4}))
    assert end_of_text(folder, 5, None) == 3
    config = {"added_tokens_decoder": decoder(x=4, y=5)}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").unlink()
    assert end_of_text(folder, 6, 3) == 3


def test_a_text_encoder_may_have_more_embeddings(folder):
    assert end_of_text(folder, 7, None) == 3


@pytest.mark.parametrize(
    ("vocab_size", "end", "added"),
    [
        (3, None, {}),  # fewer embeddings than tokens
        (4, 2, {}),  # another end-of-text
        (8, None, {}),  # half of the embeddings without a token
        (4, None, {"<x>": 4}),  # an added token without an embedding
        (6, None, {"<x>": 5}),  # a gap
    ],
)
def test_vocabularies_of_other_text_encoders(folder, vocab_size, end, added):
    (folder / "added_tokens.json").write_text(json.dumps(added))
    message = (
        rf"has {4 + len(added)} tokens, end-of-text 3; expected the text encoder's {vocab_size}"
    )
    with pytest.raises(ValueError, match=message):
        end_of_text(folder, vocab_size, end)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.json", json.dumps({**VOCAB, "c": "4"})),
        ("vocab.json", "[" * 100_000),
        ("tokenizer.json", '{"model": []}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}}, "added_tokens": [1]}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "x"}]}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": null}}}'),
        ("added_tokens.json", "[]"),
        ("added_tokens.json", '{"<x>": "4"}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": []}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "y"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"4": "y"}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"4": {"content": 3}}}'),
    ],
)
def test_damaged_files_are_named(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"{folder / name}: ") as caught:
        end_of_text(folder, 4, None)
    assert "\n" not in str(caught.value)
