"""JSON files: damage is one error that names the file."""

from pathlib import Path

import pytest

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import read_json, read_json_object


def test_objects_and_other_values(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text('{"a": [1, "é"]}', encoding="utf-8")
    assert read_json(path) == read_json_object(path) == {"a": [1, "é"]}
    path.write_text("[1]")
    assert read_json(path) == [1]
    with pytest.raises(UserError, match="config.json: holds a list, expected an object"):
        read_json_object(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "delimiter"),
        (b'{"a": "\xff"}', "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_damage(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    for read in (read_json, read_json_object):
        with pytest.raises(UserError, match=f"config.json: not a JSON file: .*{reason}"):
            read(path)


def test_a_missing_file_is_named_by_its_kind(tmp_path: Path):
    with pytest.raises(MissingFile, match="no tokenizer file .*vocab.json"):
        read_json(tmp_path / "vocab.json", "tokenizer file")
