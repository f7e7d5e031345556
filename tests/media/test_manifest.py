"""Manifests, which other tools read and write."""

import pytest

from videogen_jax.errors import UserError
from videogen_jax.media.manifest import MANIFEST, read_manifest


def test_lines_are_sorted_by_their_index(tmp_path):
    (tmp_path / MANIFEST).write_text(
        '{"index": 1, "file": "b", "prompt": "\u2028"}\n\n{"index": 0, "file": "a"}\n',
        encoding="utf-8",
    )
    assert read_manifest(tmp_path) == [
        {"index": 0, "file": "a"},
        {"index": 1, "file": "b", "prompt": "\u2028"},
    ]


def test_a_manifest_of_another_tool_needs_files_only(tmp_path):
    lines = '{"file": "b.mp4", "model": "other"}\r\n{"file": "a.mp4", "index": 0}'
    (tmp_path / MANIFEST).write_text(lines)
    assert [line["file"] for line in read_manifest(tmp_path)] == ["b.mp4", "a.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{"prompt": "a ring"}', 'line 1: expected an object with the text "file"'),
        ('{"file": "a.mp4"}\n[]', "line 2: expected an object"),
        ('{"file": "a.mp4", "prompt": 3}', "line 1: prompt is 3, expected str"),
        ('{"file": "a.mp4", "index": "1"}', "line 1: index is '1', expected int"),
        ("\n\xff", "line 2: the text is not UTF-8"),
    ],
)
def test_damaged_manifests_are_named(tmp_path, text, message):
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"manifest.jsonl.*{message}"):
        read_manifest(tmp_path)
