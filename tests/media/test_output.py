"""Output paths: what may be overwritten, what is refused before sampling, fallback files."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videogen_jax.errors import UserError
from videogen_jax.media.output import (
    FORMATS,
    check_format,
    check_output,
    save_or_keep,
    save_sheet,
    sheet_path,
)
from videogen_jax.media.video import Video

VIDEO = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0)
SHEET = Image.new("RGB", (8, 8))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_the_formats_are_those_that_a_video_can_be_saved_in(tmp_path):
    for suffix in FORMATS:
        check_format(tmp_path / f"out{suffix}")
        VIDEO.save(tmp_path / f"out{suffix}")
    with pytest.raises(UserError, match="unknown suffix"):
        check_format(tmp_path / "out.avi")


@pytest.mark.parametrize(
    ("name", "fps", "accepted"),
    [
        ("a.gif", 50.0, True),
        ("a.gif", 50.1, False),
        ("a.GIF", 64.0, False),
        ("a.webp", 64.0, True),
        ("a.webp", 100.0, False),
        ("a.mp4", 1000.0, True),
        ("a", 1000.0, True),
    ],
)
def test_a_rate_that_a_format_cannot_play(name, fps, accepted):
    if accepted:
        check_format(Path(name), fps)
    else:
        with pytest.raises(UserError, match="plays at most .* save it as .mp4"):
            check_format(Path(name), fps)


def test_an_existing_path_of_the_wrong_kind_is_refused(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="folder.mp4: there is a folder of that name"):
        check_output(tmp_path / "folder.mp4")
    with pytest.raises(UserError, match="file: there is a file of that name"):
        check_output(tmp_path / "file")


@pytest.mark.parametrize("name", ["out.mp4", "frames", "n" * 251 + ".mp4", "é" * 127, "n" * 255])
def test_a_check_leaves_nothing_and_a_checked_name_can_be_written(tmp_path, name):
    path = tmp_path / "new" / name
    check_output(path)
    assert files(tmp_path) == ["new"]
    VIDEO.save(path)
    check_output(path)
    assert os.listdir(tmp_path / "new") == [name]


@pytest.mark.parametrize(
    "name",
    ["n" * 252 + ".mp4", "é" * 128, "n" * 256, "d" * 256 + "/out.mp4", "a/" * 2100 + "b.gif"],
)
def test_a_name_that_is_too_long_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="File name too long"):
        check_output(tmp_path / name)


@pytest.mark.parametrize("name", [".", "..", "/", "a/..", ".mp4", "a/.GIF"])
def test_a_path_without_a_name_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected the name of a file or a folder"):
        check_output(Path(name))


@pytest.mark.parametrize("name", ["file/out.mp4", "/dev/null/out.mp4", "/proc/out.mp4"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*out.mp4: "):
        check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["notes.txt", "frame_cat.png", ".hidden", "frame_0001.png/a"])
def test_a_folder_with_other_files_is_refused(tmp_path, name):
    folder = VIDEO.save(tmp_path / "frames")
    check_output(folder)
    (folder / "frame_0001.png").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    with pytest.raises(UserError, match=f"it has other files, such as {name.split('/')[0]}"):
        check_output(folder)


def test_a_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(VIDEO.save(tmp_path / "frames"))
    with pytest.raises(UserError, match="link: it is a link"):
        check_output(tmp_path / "link")


def test_an_input_is_not_an_output(tmp_path):
    file = VIDEO.save(tmp_path / "a.webp")
    frame = VIDEO.save(tmp_path / "frames") / "frame_0000.png"
    (tmp_path / "link.webp").symlink_to(file)
    os.link(file, tmp_path / "same.webp")
    for name in ("a.webp", "x/../a.webp", "link.webp", "same.webp"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="this would overwrite the input .*a.webp"):
            check_output(tmp_path / name, [file])
    with pytest.raises(UserError, match="this would overwrite the input .*frame_0000.png"):
        check_output(tmp_path / "frames", [frame])
    check_output(tmp_path / "other.webp", [file, frame, tmp_path / "absent.png"])


def test_a_contact_sheet_replaces_only_an_earlier_one_of_the_same_video(tmp_path):
    video, cat = tmp_path / "cat.mp4", tmp_path / "cat.png"
    assert sheet_path(video) == cat
    save_sheet(cat, SHEET, video)
    assert sheet_path(video) == cat
    other = tmp_path / "cat_sheet.png"
    assert sheet_path(tmp_path / "cat.gif") == other  # cat.png belongs to cat.mp4
    assert sheet_path(video, [cat]) == other  # it is the reference

    for content in (b"not a picture", b""):
        cat.write_bytes(content)
        assert sheet_path(video) == other
    VIDEO.contact_sheet(cat)  # of the user's own script
    assert sheet_path(video) == other
    other.mkdir()
    assert sheet_path(video) == tmp_path / "cat_sheet_2.png"
    (tmp_path / "cat_sheet_2.png").symlink_to("absent")
    assert sheet_path(video) == tmp_path / "cat_sheet_3.png"


def test_a_name_that_is_not_unicode_can_be_marked(tmp_path):
    video = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    save_sheet(sheet_path(video), SHEET, video)
    assert sheet_path(video) == video.with_suffix(".png")


def test_what_cannot_be_written_goes_to_a_fallback_file(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "out.webp").mkdir()
    with pytest.raises(UserError, match="cannot write .*out.webp"):
        save_or_keep(tmp_path / "out.webp", VIDEO.save, "")
    (kept,) = (tmp_path / "temporary").rglob("result.webp")
    assert f"the result is in {kept} instead" in capfd.readouterr().err
    with Image.open(kept) as picture:
        assert picture.size == (16, 16)


def test_what_cannot_be_encoded_goes_to_a_fallback_file_of_another_format(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)  # the next place to try

    def save(path: Path) -> None:
        if path.suffix == ".mp4":
            raise RuntimeError("no encoder")
        VIDEO.save(path)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no encoder"):
        patch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
        save_or_keep(tmp_path / "out.mp4", save, "")
    (kept,) = tmp_path.glob("videogen-*/result")
    assert files(kept) == ["frame_0000.png", "frame_0001.png"]
    assert f"{kept.relative_to(tmp_path)} instead" in capfd.readouterr().err


def test_without_any_place_the_first_error_remains(tmp_path, monkeypatch, capfd):
    def save(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="No space left on device: '/full/out.mp4'"):
        save_or_keep(Path("/full/out.mp4"), save, "")
    assert "no other file could be written" in capfd.readouterr().err
    assert files(tmp_path) == []
