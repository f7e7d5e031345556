"""Files that are not transcoded: every reason for rejection, and what is not one."""

import numpy as np
import pytest

from tests.support.numbered_clips import H, W, write_frames, write_numbered, write_sound
from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.transcode import transcode

SMALL = ClipConfig(short_side=H, min_side=32)


def bad_zero_byte(folder):
    (folder / "a.mp4").write_bytes(b"")


def bad_text(folder):
    (folder / "a.mp4").write_text("this is no video\n" * 100)


def bad_truncated(folder):
    """An mp4 file's index is at its end, so half of the file cannot be read at all."""
    data = write_numbered(folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) // 2])


def bad_cut_off(folder):
    """With the index at the start, half of the frames still decode."""
    data = write_numbered(folder / "a.mp4", container={"movflags": "faststart"}).read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) // 2])


def bad_holes(folder):
    """Damages ten places in the frames of a stream."""
    path = write_numbered(folder / "a.mp4", container={"movflags": "faststart"}, g="1")
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 1000
    for place in np.linspace(begin, len(data) - 500, 10).astype(int):
        data[place : place + 400] = bytes(400)
    path.write_bytes(data)


def moving(levels, count=20):
    frames = np.full((count, H, W, 3), 100, np.uint8)
    frames[:, :16, :16] += (np.arange(count) % 2 * levels).astype(np.uint8)[:, None, None, None]
    return list(frames)


REJECTED = {
    "missing_file": lambda folder: None,
    "undecodable": bad_zero_byte,
    "undecodable text": bad_text,
    "undecodable truncated": bad_truncated,
    "damaged cut off": bad_cut_off,
    "damaged holes": bad_holes,
    "no_video_stream": lambda folder: write_sound(folder / "a.mp4"),
    "too_short": lambda folder: write_numbered(folder / "a.mp4", count=15),
    "too_short one frame": lambda folder: write_numbered(folder / "a.mp4", count=1),
    "too_long": lambda folder: write_numbered(folder / "a.mp4", rate=10),
    "too_small": lambda folder: write_numbered(folder / "a.mp4", h=24, w=W),
    "static": lambda folder: write_frames(folder / "a.mp4", moving(2)),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected(tmp_path, case):
    REJECTED[case](tmp_path)
    with pytest.raises(Rejected) as error:
        transcode(tmp_path / "a.mp4", ClipConfig(short_side=H, min_side=32, max_seconds=3.0))
    assert error.value.reason == case.split()[0]


def test_part_outside(tmp_path):
    path = write_numbered(tmp_path / "a.mp4")
    with pytest.raises(Rejected, match="outside: no frame from 5 to 6 s"):
        transcode(path, SMALL, 5.0, 6.0)


def test_small_motion_is_not_static(tmp_path):
    write_frames(tmp_path / "a.mp4", moving(30))
    assert transcode(tmp_path / "a.mp4", SMALL).num_frames == 20
    write_frames(tmp_path / "b.mp4", moving(0))
    config = ClipConfig(short_side=H, min_side=32, reject_static=False)
    assert transcode(tmp_path / "b.mp4", config).num_frames == 20


def test_scene_cuts_are_rejected_only_on_request(tmp_path):
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (2, 3, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    frames = [np.roll(scenes[int(index >= 12)], index, axis=1) for index in range(24)]
    write_frames(tmp_path / "a.mp4", frames)
    write_frames(tmp_path / "pan.mp4", [np.roll(scenes[0], 6 * i, axis=1) for i in range(24)])
    rejecting = ClipConfig(short_side=H, min_side=32, reject_cuts=True)
    assert transcode(tmp_path / "a.mp4", SMALL).num_frames == 24
    assert transcode(tmp_path / "pan.mp4", rejecting).num_frames == 24
    with pytest.raises(Rejected, match="scene_cut: at 0.48 s"):
        transcode(tmp_path / "a.mp4", rejecting)


@pytest.mark.parametrize("field,value", [("crf", 52), ("short_side", 1), ("fps", 0.0), ("gop", 0)])
def test_bad_fields(field, value):
    with pytest.raises(ValueError, match=field):
        ClipConfig(**{field: value})
