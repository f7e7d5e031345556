"""The video files below a folder: links, suffixes, and what is left out."""

import os

import pytest

from videogen_jax.data.clips.sources.layouts import read_clips
from videogen_jax.data.clips.sources.listing import video_files
from videogen_jax.data.clips.sources.lists import SourceOptions


def touch(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def names(folder):
    return [file.relative_to(folder).as_posix() for file in video_files(folder)]


def test_links_to_folders_are_followed(tmp_path):
    touch(tmp_path / "disk" / "deep" / "b.mp4", tmp_path / "clips" / "a.mp4")
    (tmp_path / "clips" / "other").symlink_to(tmp_path / "disk")
    (tmp_path / "link").symlink_to("clips")
    assert names(tmp_path / "clips") == ["a.mp4", "other/deep/b.mp4"]
    assert names(tmp_path / "link") == ["a.mp4", "other/deep/b.mp4"]


def test_links_in_a_circle_end_and_folders_are_listed_once(tmp_path):
    touch(tmp_path / "x" / "a.mp4", tmp_path / "y" / "b.mp4", tmp_path / "z.mp4")
    (tmp_path / "x" / "up").symlink_to("..")
    (tmp_path / "x" / "to_y").symlink_to("../y")
    (tmp_path / "y" / "to_x").symlink_to("../x")
    (tmp_path / "y" / "itself").symlink_to("itself")
    (tmp_path / "0_to_x").symlink_to("x")
    assert names(tmp_path) == ["x/a.mp4", "y/b.mp4", "z.mp4"]
    outside = tmp_path / "y" / "both"
    outside.mkdir()
    (outside / "1").symlink_to(tmp_path / "x")
    (outside / "0").symlink_to(tmp_path / "x")
    assert names(outside) == ["0/a.mp4", "0/to_y/b.mp4", "0/up/z.mp4"]


@pytest.mark.parametrize("suffix", [".mts", ".M2TS", ".vob", ".gif", ".TS", ".m2v", ".3g2"])
def test_suffixes_of_cameras_and_discs(tmp_path, suffix):
    touch(tmp_path / f"a{suffix}")
    assert names(tmp_path) == [f"a{suffix}"]


def test_what_is_not_taken_is_counted_by_suffix(tmp_path, caplog):
    touch(*(tmp_path / name for name in ("a.mp4", "a.txt", "b/c.mp4", "b/c.json", "b/d.txt")))
    touch(*(tmp_path / name for name in ("e.JPG", "f.jpg", "README", ".DS_Store", "g.mp4.part")))
    (tmp_path / "disk.mp4").mkdir()
    (tmp_path / "gone.mp4").symlink_to("nothing")
    with caplog.at_level("INFO"):
        assert names(tmp_path) == ["a.mp4", "b/c.mp4", "gone.mp4"]
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}: files that are not taken as videos: "
        ".jpg (2), .part (1), .txt (1), hidden (1), without suffix (1)"
    )


def test_a_folder_that_cannot_be_read_is_reported(tmp_path, caplog, monkeypatch):
    touch(tmp_path / "a.mp4", tmp_path / "lost+found" / "b.mp4")
    scan = os.scandir

    def denied(folder):
        if os.path.basename(folder) == "lost+found":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", denied)
    assert names(tmp_path) == ["a.mp4"]
    assert f"{tmp_path}/lost+found cannot be read and is left out: Permission" in caplog.text


@pytest.mark.parametrize("layout", ["folder", "ucf101", "msrvtt"])
def test_every_layout_follows_links(tmp_path, layout):
    disk = tmp_path / "disk"
    touch(disk / "v_YoYo_g01_c01.avi", disk / "video0.MP4")
    if layout == "folder":
        source = tmp_path / "clips"
        touch(source / "notes.md")
        (source / "linked").symlink_to(disk)
        found = {"linked/v_YoYo_g01_c01.avi", "linked/video0.MP4"}
    elif layout == "ucf101":
        source = tmp_path / "ucf"
        (source / "UCF-101").mkdir(parents=True)
        (source / "UCF-101" / "Yoyo").symlink_to(disk)
        (source / "ucfTrainTestlist").mkdir()
        lists = source / "ucfTrainTestlist" / "trainlist01.txt"
        lists.write_text("YoYo/v_YoYo_g01_c01.avi 1\n")
        found = {"UCF-101/Yoyo/v_YoYo_g01_c01.avi"}
    else:
        source = tmp_path / "msrvtt"
        (source / "all").mkdir(parents=True)
        (source / "all" / "TrainValVideo").symlink_to(disk)
        row = '{"video_id": "video0", "split": "train", "url": "", "start time": 0, "end time": 9}'
        (source / "info.json").write_text(f'{{"videos": [{row}], "sentences": []}}')
        found = {"all/TrainValVideo/video0.MP4"}
    file = source / "info.json" if layout == "msrvtt" else source
    clips = list(read_clips(file, SourceOptions()))
    assert {os.path.relpath(clip.path, source) for clip in clips} == found
