"""The manifest, which other tools read and write, and the settings of a folder."""

import json

import pytest

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.folder import (
    MANIFEST,
    Entry,
    read_manifest,
    require_settings,
    video_name,
    write_manifest,
)


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    entries = [Entry(i, video_name(i, "png"), f"caption {i} ü", i, 8.0, 16) for i in range(2)]
    for entry in entries:
        (tmp_path / entry.file).mkdir()
    write_manifest(tmp_path, entries)
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert json.loads(lines[1]) == {
        "index": 1,
        "file": "000001",
        "prompt": "caption 1 ü",
        "seed": 1,
        "fps": 8.0,
        "frames": 16,
    }
    assert [(e.file, e.prompt, e.seed) for e in read_manifest(tmp_path)] == [
        (e.file, e.prompt, e.seed) for e in entries
    ]
    assert video_name(3, "mp4") == "000003.mp4"


def test_a_manifest_of_another_tool_needs_files_only(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / MANIFEST).write_text('{"file": "a.mp4", "model": "other"}\n')
    assert read_manifest(tmp_path) == [Entry(0, "a.mp4")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{"prompt": "a ring"}', "line 1: expected an object with the texts file and prompt"),
        ('{"file": "a.mp4"}\n[]', "line 2: expected an object"),
        ('{"file": "a.mp4", "prompt": 3}', "line 1: expected an object"),
        ('{"file": "../a.mp4"}', "line 1: ../a.mp4 is not in the folder"),
        ('{"file": "b.mp4"}', "line 1: there is no .*b.mp4"),
        ("", "has no videos"),
    ],
)
def test_damaged_manifests_are_named(tmp_path, text, message):
    (tmp_path / "a.mp4").touch()
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=f"manifest.jsonl.*{message}"):
        read_manifest(tmp_path)


def test_other_settings_are_refused_by_field(tmp_path):
    path, settings = tmp_path / "settings.json", {"videos": 3, "sampling": {"seed": 0, "fps": None}}
    require_settings(path, settings, "the videos were begun")
    require_settings(path, settings, "the videos were begun")
    other = {"videos": 3, "sampling": {"seed": 1, "fps": 8.0}}
    with pytest.raises(UserError, match="the videos were begun with other settings") as error:
        require_settings(path, other, "the videos were begun")
    assert "sampling/seed: 0 there, 1 now" in str(error.value)
    assert "sampling/fps: None there, 8.0 now" in str(error.value)
    assert "videos:" not in str(error.value)
