"""A folder of videos: continued, repaired, and never mixed up with another request."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen_jax import UserError, Video
from videogen_jax.media.video_folder import VideoFolder

VIDEO = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0)
REQUEST = {"model_sha256": "9f86", "stages": None, "steps": (3, 4)}


def entry(index: int) -> dict[str, Any]:
    return {"index": index, "prompt": "a ring", "seed": index, "file": f"{index:05d}.gif"}


def line(index: int) -> dict[str, Any]:
    return {**entry(index), "fps": 8.0, "frames": 2}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "manifest.jsonl").read_text().splitlines()]


def test_a_video_has_a_line_and_the_manifest_is_sorted_at_the_end(tmp_path):
    folder = VideoFolder(tmp_path / "new", REQUEST)
    for index in (1, 0):
        folder.add(entry(index), VIDEO)
    assert lines(folder.path) == [line(1), line(0)]
    folder.close()
    assert lines(folder.path) == [line(0), line(1)]
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"00000.gif", "00001.gif", "manifest.jsonl", "request.json"}


def test_another_process_continues_a_folder(tmp_path):
    VideoFolder(tmp_path, REQUEST).add(entry(0), VIDEO)
    again = VideoFolder(tmp_path, REQUEST)
    assert again.entries() == {0: line(0)}
    again.add(entry(1), VIDEO)
    assert lines(tmp_path) == [line(0), line(1)]


def test_the_beginning_of_a_line_that_a_killed_process_wrote_is_removed(tmp_path):
    folder = VideoFolder(tmp_path, REQUEST)
    folder.add(entry(0), VIDEO)
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(entry(1))[:20])
    assert folder.entries() == {0: line(0)}
    folder.add(entry(2), VIDEO)  # by a process that was not killed
    assert lines(tmp_path) == [line(0), line(2)]
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(entry(1))[:20])
    VideoFolder(tmp_path, REQUEST)
    assert lines(tmp_path) == [line(0), line(2)]


def test_a_line_whose_video_is_gone_counts_as_missing(tmp_path):
    folder = VideoFolder(tmp_path, REQUEST)
    folder.add(entry(0), VIDEO)
    (tmp_path / "00000.gif").unlink()
    assert folder.entries() == {}
    folder.add(entry(0), VIDEO)
    folder.close()
    assert lines(tmp_path) == [line(0)]


def test_several_writers_lose_no_line(tmp_path):
    def fill(first: int) -> None:
        folder = VideoFolder(tmp_path, REQUEST)
        for index in range(first, 20, 2):
            folder.add(entry(index), VIDEO)
        folder.close()

    threads = [threading.Thread(target=fill, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines(tmp_path) == [line(index) for index in range(20)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: (path / "request.json").write_text('{"stages": 2}'),
            "begun with other settings.*\n.*model_sha256: None there, '9f86' now",
        ),
        (lambda path: (path / "request.json").unlink(), "no request.json, but .* manifest.jsonl"),
        (lambda path: (path / "manifest.jsonl").write_text("{}\n"), "line 1: expected an object"),
        (
            lambda path: (path / "manifest.jsonl").write_text('{"file": "a", "index": 0}\n'),
            "line 1: there is no prompt, seed",
        ),
        (lambda path: (path / "manifest.jsonl").write_text("x\n"), "line 1: not JSON"),
    ],
)
def test_another_folder_is_refused(tmp_path, damage, message):
    VideoFolder(tmp_path, REQUEST)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        VideoFolder(tmp_path, REQUEST)
