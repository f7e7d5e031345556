"""Files of prompts, and the videos of one in a folder."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from videogen_jax import UserError, Video, VideoOptions
from videogen_jax.media.video_folder import VideoFolder
from videogen_jax.pipeline.prompt_files import PromptLine, read_prompts, sample_prompts


class Model:
    """Stands for a model: the colour of a video is its seed; `calls` lists prompts and seeds."""

    def __init__(self, fails_at: int = 1000):
        self.calls: list[tuple[list[str], Any]] = []
        self._fails_at = fails_at

    def __call__(self, prompts: list[str], *, options: VideoOptions, **others: Any) -> list[Video]:
        if len(self.calls) == self._fails_at:
            raise KeyboardInterrupt
        self.calls.append((prompts, options.seed))
        seeds: Any = options.seed
        frames = [np.full((2, 8, 8, 3), seed % 256, np.uint8) for seed in seeds]
        return [Video(x, 8.0, p) for x, p in zip(frames, prompts, strict=True)]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def lines(tmp_path) -> list[PromptLine]:
    return read_prompts(write(tmp_path / "five.txt", "a", "b", "c", "d", "e"), seed=7)


def run(lines: list[PromptLine], path: Path, model: Any, **options: Any) -> list[int]:
    folder = VideoFolder(path, {})
    options = {"suffix": ".webp", **options}
    made = sample_prompts(lambda: model, lines, folder, VideoOptions(stages=1), **options)
    return [entry["index"] for entry in made]


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_text_file_has_a_prompt_in_each_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffein Kreis, größer\r\na ring".encode())
    assert read_prompts(path, seed=2**32 - 1, negative_prompt="blue") == [
        PromptLine(0, "00000", "ein Kreis, größer", 2**32 - 1, "blue"),
        PromptLine(1, "00001", "a ring", 0, "blue"),
    ]


def test_a_json_line_may_have_an_id_a_seed_and_a_negative_prompt(tmp_path):
    first = {"prompt": "a ring", "id": "ring-1", "seed": 5, "negative_prompt": "red"}
    path = write(tmp_path / "p.jsonl", json.dumps(first), '{"prompt": "a star"}')
    assert read_prompts(path, seed=3) == [
        PromptLine(0, "ring-1", "a ring", 5, "red"),
        PromptLine(1, "00001", "a star", 4, ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "a\n\nb\n", "p.txt, line 2: it is empty"),
        ("p.txt", "", "p.txt, line 1: it is empty"),
        ("p.jsonl", '{"prompt": "a"}\n \n', "line 2: it is empty"),
        ("p.jsonl", "a ring\n", "line 1: it is not JSON"),
        ("p.jsonl", '["a ring"]\n', 'line 1: expected an object with "prompt"'),
        ("p.jsonl", '{"prompt": " "}\n', "line 1: the prompt is empty"),
        ("p.jsonl", '{"prompt": 3}\n', "line 1: prompt is 3, expected str"),
        ("p.jsonl", '{"prompt": "a", "seed": -1}\n', "line 1: seed is -1, expected an integer"),
        ("p.jsonl", '{"prompt": "a", "seed": true}\n', "line 1: seed is True, expected int"),
        ("p.jsonl", '{"prompt": "a", "sed": 1}\n', "unknown key 'sed', expected one of prompt"),
        ("p.jsonl", '{"prompt": "a", "id": "../a"}\n', "id is '../a', expected a file name"),
        (
            "p.jsonl",
            '{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "X"}\n',
            "line 2: the id 'X' is that of line 1 already",
        ),
        (
            "p.jsonl",
            '{"prompt": "a", "id": "00001"}\n{"prompt": "b"}\n',
            "line 2: the id '00001' is that of line 1 already",
        ),
        ("p.csv", "a\n", "expected a file of prompts, .txt or .jsonl"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_prompts(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of prompts .*p\.txt"):
        read_prompts(tmp_path / "p.txt")


def test_batches_are_filled_up(lines, tmp_path):
    model = Model()
    assert run(lines, tmp_path / "out", model, batch_size=2) == [0, 1, 2, 3, 4]
    assert model.calls == [(["a", "b"], (7, 8)), (["c", "d"], (9, 10)), (["e", "e"], (11, 11))]


def test_a_run_that_was_interrupted_makes_the_same_videos(lines, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(lines, whole, Model(), batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        run(lines, stopped, Model(fails_at=2), batch_size=2)
    (stopped / "00001.webp").unlink()
    again = Model()
    assert run(lines, stopped, again, batch_size=2) == [1, 4]
    assert [prompts for prompts, _ in again.calls] == [["a", "b"], ["e", "e"]]  # the same batches
    assert contents(stopped) == contents(whole)
    assert run(lines, stopped, again) == []


def test_processes_share_what_is_missing(lines, tmp_path, monkeypatch):
    run(lines[:1], tmp_path / "out", Model())
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    shared = "videogen_jax.pipeline.prompt_files.multihost_utils.broadcast_one_to_all"
    for process, expected in ((0, [1, 3]), (1, [2, 4])):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        missing = [False, True, True, True, True]  # as process 0 sees it at the start
        monkeypatch.setattr(shared, lambda mask, missing=missing: np.array(missing))
        assert run(lines, tmp_path / "out", Model()) == expected
    names = sorted(path.name for path in (tmp_path / "out").glob("*.webp"))
    assert names == [f"{index:05d}.webp" for index in range(5)]


def test_processes_that_make_each_video_together_write_it_once(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    model = Model()
    assert run(lines, tmp_path / "out", model, together=True) == []
    assert len(model.calls) == 5 and not list((tmp_path / "out").glob("*.webp"))


def test_a_folder_of_other_prompts_is_refused(lines, tmp_path):
    run(lines, tmp_path / "out", Model())
    others = read_prompts(write(tmp_path / "others.txt", "a", "B"), seed=7)
    with pytest.raises(UserError, match="line 2 with prompt 'b', not 'B'; give a new folder"):
        run(others, tmp_path / "out", Model())
    more = read_prompts(write(tmp_path / "six.txt", "a", "b", "c", "d", "e", "f"), seed=7)
    assert run(more, tmp_path / "out", Model()) == [5]
