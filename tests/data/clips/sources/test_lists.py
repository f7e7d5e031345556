"""Lists of clips: delimiters, times, ids and texts, and the errors of their rows."""

import json
import os
from pathlib import Path

import pytest

from videogen_jax.data.clips.sources.layouts import read_clips
from videogen_jax.data.clips.sources.lists import SourceOptions
from videogen_jax.errors import UserError


def read(path):
    return list(read_clips(path, SourceOptions()))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "path\tcaption\tstart\nb.mp4\ta dog, running; fast\t1\n"),
        ("a.csv", 'path;caption;start\nb.mp4;"a dog, running; fast";1\n'),
        ("a.csv", "path\tcaption\tstart\r\nb.mp4\ta dog, running; fast\t1\r\n"),
        ("a.tsv", 'path,"caption",start\nb.mp4,"a dog, running; fast",1\n'),
        ("a.csv", '\n\ufeffpath;caption;start\nb.mp4;"a dog, running; fast";1\n'[1:]),
    ],
)
def test_delimiters(tmp_path, name, text):
    (tmp_path / name).write_text(text, newline="")
    (clip,) = read(tmp_path / name)
    assert clip.path == str(tmp_path / "b.mp4") and clip.captions == ("a dog, running; fast",)
    assert (clip.start, clip.row) == (1.0, 2)


def test_a_list_of_one_column_and_webvid_with_semicolons(tmp_path):
    (tmp_path / "a.csv").write_text("path\nb.mp4\n")
    with pytest.raises(ValueError, match="line 1: no column caption; the columns are: path"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("videoid;page_dir;name\n01;02;a, b\n")
    (clip,) = read(tmp_path / "b.csv")
    assert clip.path == str(tmp_path / "videos/02/01.mp4") and clip.captions == ("a, b",)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("01:02:03.5", 3723.5),
        ("1:2:3", 3723.0),
        ("02:03.25", 123.25),
        ("90:00", 5400.0),
        ("00:00:10,500", 10.5),
        (" 7.5 ", 7.5),
        ("1e1", 10.0),
        (12, 12.0),
        (" ", None),
        (None, None),
    ],
)
def test_times(tmp_path, text, seconds):
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"path": "a.mp4", "caption": "", "start": text}))
    assert read(path)[0].start == seconds


BAD_TIMES = ["NaN", "Infinity", "-Infinity", "1e999", "true", "[1]", "1" + "0" * 400]
BAD_TEXTS = ["nan", "inf", "-1:00", "1:60", "1:60:00", "1:2:3:4", "1_0", "1:", ":1", "5 s", "1,5"]


@pytest.mark.parametrize("key", ["start", "end"])
@pytest.mark.parametrize("value", BAD_TIMES + [f'"{text}"' for text in BAD_TEXTS])
def test_times_that_are_no_times_are_named_with_their_row(tmp_path, key, value):
    good = '{"path": "a.mp4", "caption": ""}\n'
    bad = f'{{"path": "a.mp4", "caption": "", "{key}": {value}}}\n'
    (tmp_path / "a.jsonl").write_text(good + bad)
    with pytest.raises(UserError, match=f"a.jsonl, line 2: {key} must be seconds or hh:mm:ss.s"):
        read(tmp_path / "a.jsonl")
    if value.startswith('"'):
        (tmp_path / "a.csv").write_text(f"path,caption,{key}\na.mp4,,{value}\n")
        with pytest.raises(UserError, match=f"a.csv, line 2: {key} must be seconds"):
            read(tmp_path / "a.csv")


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '"inf"'])
def test_a_rate_that_is_not_finite_is_named_with_its_row(tmp_path, value):
    (tmp_path / "a.jsonl").write_text(f'{{"path": "a", "caption": "", "fps": {value}}}')
    with pytest.raises(UserError, match="a.jsonl, line 1: fps must be a finite number, got"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "a.csv").write_text("path,caption,fps\na,,25\na,,about 30\na,,\na,,nan\n")
    with pytest.raises(UserError, match="a.csv, line 5: fps must be a finite number, got 'nan'"):
        read(tmp_path / "a.csv")


HALF = "\\ud83d"  # in JSON, the first half of an emoji
AFTER = "contains '.ud83d', half of a surrogate pair"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", f'{{"path": "a", "caption": "{HALF}"}}', "line 1: caption"),
        ("a.jsonl", f'{{"path": "a", "caption": ["b", "c{HALF}"]}}', "line 1: caption"),
        ("a.jsonl", f'{{"path": "a", "caption": "", "id": "{HALF}"}}', "line 1: id"),
        ("a.jsonl", f'{{"path": "{HALF}.mp4", "caption": ""}}', "line 1: path"),
        (
            "a.json",
            f'{{"videos": [], "sentences": [{{"video_id": "a", "caption": "{HALF}"}}]}}',
            "sentence 1: caption",
        ),
        (
            "a.json",
            f'{{"videos": [], "sentences": [{{"video_id": "{HALF}", "caption": ""}}]}}',
            "sentence 1: video_id",
        ),
    ],
)
def test_half_of_an_emoji_is_named_with_its_row(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}, {message} {AFTER}"):
        read(tmp_path / name)


def test_whole_emojis_are_fine(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"path": "a", "caption": "\\ud83d\\ude00"}')
    assert read(tmp_path / "a.jsonl")[0].captions == ("\U0001f600",)


def test_a_folder_above_the_clips_that_is_not_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xf6"))
    folder.mkdir()
    (folder / "a.mp4").touch()
    with pytest.raises(UserError, match="row 1: the path contains '.udcf6'"):
        read(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"path": "a", "caption": "", "id": NaN}', "id must be a finite number, got nan"),
        ('{"path": "a", "caption": "", "id": [1]}', r"id must be a text or a number, got \[1\]"),
        ('{"path": "a", "caption": "", "id": true}', "id must be a text or a number, got True"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_bad_ids_and_deep_json(tmp_path, row, message):
    (tmp_path / "a.jsonl").write_text(row)
    with pytest.raises(UserError, match=f"a.jsonl, line 1: .*({message})"):
        read(tmp_path / "a.jsonl")


def test_a_list_that_is_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match="a.csv: expected a folder or a list; it is not a regular"):
        read(tmp_path / "a.csv")
