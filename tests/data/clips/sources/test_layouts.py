"""The layouts of sources: their clips and captions, and the errors of invalid ones."""

import json
import os
from pathlib import Path

import pytest

from videogen_jax.data.clips.sources.layouts import class_caption, layout_of, read_clips
from videogen_jax.data.clips.sources.lists import SourceOptions
from videogen_jax.errors import UserError

HALF = "\\ud83d"  # in JSON, the first half of an emoji
AFTER = "contains '.ud83d', half of a surrogate pair"


def read(path, **options):
    return list(read_clips(path, SourceOptions(**options)))


def touch(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def test_csv(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(
        '\ufeffpath,caption,start,end,extra\nb/a.mp4,"a dog, running",1.5,3,x\n\n'
        '/abs/c.mp4,"two\nlines",,,y\na.mp4,,0,,\n',
        encoding="utf-8",
    )
    first, second, third = read(path)
    assert (first.path, first.captions) == (str(tmp_path / "b/a.mp4"), ("a dog, running",))
    assert (first.row, first.start, first.end, first.id) == (2, 1.5, 3.0, "a-2")
    assert (second.path, second.captions) == ("/abs/c.mp4", ("two\nlines",))
    assert (second.row, second.start, second.end) == (4, None, None)
    assert (third.row, third.captions, third.start, third.end) == (6, (), 0.0, None)


def test_csv_with_other_columns_and_folder(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("id,video,text\n007,a.mp4,a cat\n")
    (clip,) = read(path, path_column="video", caption_column="text", clips="/clips")
    assert (clip.id, clip.path, clip.captions) == ("007", "/clips/a.mp4", ("a cat",))


def test_jsonl(tmp_path):
    path = tmp_path / "list.jsonl"
    rows = [
        {"path": "a.mp4", "caption": ["a cat", " a tabby ", ""]},
        {"path": "b.mp4", "caption": "ein Kätzchen", "start": 2, "end": 4.5, "id": "b"},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    first, second = read(path)
    assert (first.row, first.captions) == (1, ("a cat", "a tabby"))
    assert (second.row, second.id, second.start, second.end) == (3, "b", 2.0, 4.5)
    assert second.captions == ("ein Kätzchen",)


def test_folder(tmp_path):
    touch(*(tmp_path / name for name in ("b/z.MOV", "a.mp4", "a.webm", ".hidden.mp4", "notes.md")))
    (tmp_path / "a.txt").write_text("a cat\n\na tabby\n")
    (tmp_path / "b" / "z.json").write_text('{"caption": "a dog"}')
    clips = read(tmp_path)
    assert [clip.id for clip in clips] == ["a.mp4", "a.webm", "b/z.MOV"]
    assert [clip.row for clip in clips] == [1, 2, 3]
    assert clips[0].captions == clips[1].captions == ("a cat", "a tabby")
    assert clips[2].captions == ("a dog",) and clips[2].path == str(tmp_path / "b/z.MOV")


def test_webvid(tmp_path):
    path = tmp_path / "results_2M_val.csv"
    path.write_text(
        "videoid,contentUrl,duration,page_dir,name\n"
        '0123,https://x/y.mp4,PT00H00M10S,014001_014050,"Sea, at night"\n'
    )
    (clip,) = read(path)
    assert clip.id == "0123" and clip.captions == ("Sea, at night",)
    assert clip.path == str(tmp_path / "videos/014001_014050/0123.mp4")


def write_ucf101(root):
    lists, clips = root / "ucfTrainTestlist", root / "UCF-101"
    stand = "HandstandPushups/v_HandstandPushups_g08_c01.avi"
    touch(clips / "YoYo/v_YoYo_g01_c01.avi", clips / stand, clips / "YoYo/v_YoYo_g02_c01.avi")
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(
        "HandstandPushups/v_HandStandPushups_g08_c01.avi 37\nYoYo/v_YoYo_g01_c01.avi 101\n"
    )
    (lists / "testlist02.txt").write_text("YoYo/v_YoYo_g02_c01.avi\nYoYo/v_YoYo_g03_c01.avi\n")
    return clips / stand


def test_ucf101(tmp_path):
    stand = write_ucf101(tmp_path)
    first, second = read(tmp_path)
    assert first.path == str(stand) and first.id == "v_HandstandPushups_g08_c01"
    assert first.captions == ("handstand pushups",) and second.captions == ("yo yo",)
    there, missing = read(tmp_path, split="test", fold=2)
    assert there.id == "v_YoYo_g02_c01"
    assert missing.path == str(tmp_path / "UCF-101/YoYo/v_YoYo_g03_c01.avi")
    prompts = tmp_path / "prompts.json"
    prompts.write_text('{"HandstandPushups": "pushing up", "YoYo": ["a", "b"]}')
    captions = [clip.captions for clip in read(tmp_path, prompts=str(prompts))]
    assert captions == [("pushing up",), ("a", "b")]
    prompts.write_text('{"YoYo": "a"}')
    with pytest.raises(ValueError, match="prompts.json: no caption for the class Handstand"):
        read(tmp_path, prompts=str(prompts))
    with pytest.raises(ValueError, match="the folds 1 to 3"):
        read(tmp_path, fold=4)
    with pytest.raises(FileNotFoundError, match="testlist01.txt"):
        read(tmp_path, split="test")


@pytest.mark.parametrize(
    "name,words",
    [("ApplyEyeMakeup", "apply eye makeup"), ("TaiChi", "tai chi"), ("YoYo", "yo yo")],
)
def test_class_caption(name, words):
    assert class_caption(name) == words


def test_msrvtt(tmp_path):
    videos = [
        {"video_id": f"video{n}", "category": 1, "id": n, "split": split}
        | {"url": f"https://www.youtube.com/watch?v=yt{n}", "start time": 3.5, "end time": 9.0}
        for n, split in enumerate(["train", "train", "test"])
    ]
    sentences = [
        {"video_id": name, "sen_id": n, "caption": text}
        for n, (name, text) in enumerate(
            [("video1", "b"), ("video0", "a"), ("video1", "c"), ("video2", "d")]
        )
    ]
    path = tmp_path / "videodatainfo.json"
    path.write_text(json.dumps({"info": {}, "videos": videos, "sentences": sentences}))
    touch(*(tmp_path / name for name in ("clips/video0.mp4", "films/yt0.mp4", "films/yt1.mp4")))
    cut, film, missing = read(path)
    assert (cut.id, cut.path) == ("video0", str(tmp_path / "clips/video0.mp4"))
    assert (cut.captions, cut.start, cut.end) == (("a",), None, None)
    assert (film.path, film.start, film.end) == (str(tmp_path / "films/yt1.mp4"), 3.5, 9.0)
    assert film.captions == ("b", "c")
    assert missing.path == str(tmp_path / "video2.mp4")
    assert [clip.id for clip in read(path, split="test")] == ["video2"]
    path.write_text(json.dumps({"videos": [{"video_id": "video0"}], "sentences": []}))
    with pytest.raises(ValueError, match="video 1: no split and no url"):
        read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected MSR-VTT's lists"):
        read(path)


@pytest.mark.parametrize(
    "name,data,message",
    [
        ("a.csv", b"file,caption\na,b\n", "line 1: no column path; the columns are: file, caption"),
        ("a.csv", b"", "line 1: no column path and no column caption; the columns are: none"),
        ("a.csv", b"path,caption\na.mp4,one, two\n", "line 2: 3 fields, expected 2"),
        ("a.csv", b"path,caption\na.mp4,b\nb.mp4,\xff\n", "line 3: the text is not UTF-8"),
        ("a.csv", b'path,caption\na.mp4,"b\n', "line 2: unexpected end of data"),
        ("a.csv", b"path,caption\n,b\n", "line 2: path must name a file"),
        (
            "a.csv",
            b"path,caption,start\na,b,x\n",
            "line 2: start must be seconds or hh:mm:ss.s, got 'x'",
        ),
        ("a.csv", b"path,caption,start,end\na,b,3,2\n", "line 2: need 0 <= start < end"),
        ("a.jsonl", b'{"path": "a", "caption": "b"}\n{"path"', "line 2: not JSON"),
        ("a.jsonl", b'{"path": "a"}', "line 1: no caption; it has: path"),
        ("a.jsonl", b'["a"]', "line 1: no path and no caption; it has: "),
        ("a.jsonl", b'{"path": 3, "caption": ""}', "line 1: path must name a file, got 3"),
        ("a.jsonl", b'{"path": "a", "caption": 3}', "line 1: caption must be a text"),
        ("a.jsonl", b'\n{"path": "a", "caption": "\xff"}', "line 2: the text is not UTF-8"),
        ("a.parquet", b"", "cannot tell what this is"),
    ],
)
def test_bad_lists_are_named_with_their_row(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read(path)


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: no clips there; expected files ending in"):
        read(tmp_path)
    touch(tmp_path / "a.mp4")
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(ValueError, match="a.txt, line 2: the text is not UTF-8"):
        read(tmp_path)
    (tmp_path / "a.txt").unlink()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xf6.mp4")).touch()
    with pytest.raises(ValueError, match="the file name 'b.udcf6.mp4' is not UTF-8; rename it"):
        read(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xf6.mp4")).unlink()
    (tmp_path / "a.json").write_text('{"text": "a"}')
    with pytest.raises(ValueError, match="a.json: no caption; it has: text"):
        read(tmp_path)


def test_half_of_an_emoji_beside_a_clip_or_among_prompts(tmp_path):
    touch(tmp_path / "clips" / "a.mp4")
    (tmp_path / "clips" / "a.json").write_text(f'{{"caption": "{HALF}"}}')
    with pytest.raises(UserError, match=f"a.json: caption {AFTER}"):
        read(tmp_path / "clips")
    write_ucf101(tmp_path / "ucf")
    prompts = tmp_path / "prompts.json"
    prompts.write_text(f'{{"HandstandPushups": "{HALF}", "YoYo": "a"}}')
    with pytest.raises(UserError, match=f"prompts.json: the class HandstandPushups {AFTER}"):
        read(tmp_path / "ucf", prompts=str(prompts))


def test_layout_is_detected_or_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        layout_of(tmp_path / "nothing", SourceOptions())
    with pytest.raises(ValueError, match="layout must be auto or one of csv, jsonl"):
        layout_of(tmp_path, SourceOptions(layout="zip"))
    (tmp_path / "list").write_text("path,caption\na.mp4,b\n")
    assert [clip.path for clip in read(tmp_path / "list", layout="csv")] == [
        str(tmp_path / "a.mp4")
    ]
    (tmp_path / "features.json").write_text("{}")
    assert layout_of(tmp_path, SourceOptions()) == "tfds"
