"""Limits on one input: what asks for too much is rejected before it is given."""

import io
import os
import struct
from fractions import Fraction

import pytest

from tests.support.numbered_clips import H, write_numbered
from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.transcode import transcode

SMALL = ClipConfig(short_side=H, min_side=32)


def bad_pipe(folder):
    """Opening a pipe without a writer blocks."""
    os.mkfifo(folder / "a.mp4")


def bad_aspect(folder):
    """The aspect makes a frame of 64x48 pixels 3,840,000 pixels wide."""
    path = write_numbered(folder / "a.mp4", count=16, codec="mpeg4", pixel_aspect=Fraction(2))
    data = path.read_bytes()
    assert data.count(pixels := b"pasp" + struct.pack(">2I", 2, 1)) == 1
    path.write_bytes(data.replace(pixels, b"pasp" + struct.pack(">2I", 60000, 1)))


def bad_size_in_the_middle(folder):
    """The header says 64x48 pixels, the second half of the stream has 512x512."""
    parts = [io.BytesIO(), io.BytesIO()]
    write_numbered(parts[0], 16, format="mpegts")
    write_numbered(parts[1], 16, h=512, w=512, format="mpegts")
    (folder / "a.mp4").write_bytes(b"".join(part.getvalue() for part in parts))


def bad_playlist(folder):
    """Refers to a pipe."""
    os.mkfifo(folder / "b.mp4")
    (folder / "a.mp4").write_text("ffconcat version 1.0\nfile b.mp4\n")


CASES = {
    "not_a_file": bad_pipe,
    "not_a_file folder": lambda folder: (folder / "a.mp4").mkdir(),
    "not_a_file device": lambda folder: (folder / "a.mp4").symlink_to("/dev/zero"),
    "undecodable empty": lambda folder: (folder / "a.mp4").symlink_to("/proc/kmsg"),
    "undecodable playlist": bad_playlist,
    "missing_file": lambda folder: (folder / "a.mp4").symlink_to("nothing"),
    "too_large": lambda folder: write_numbered(folder / "a.mp4", count=16, h=512, w=512),
    "too_large in the middle": bad_size_in_the_middle,
    "too_large shown": lambda folder: write_numbered(
        folder / "a.mp4", count=16, h=300, w=400, **{"x264-params": "sar=2/1"}
    ),
    "aspect": lambda folder: write_numbered(folder / "a.mp4", count=16, w=H * 9),
}


@pytest.mark.parametrize("case", CASES)
def test_rejected(tmp_path, case):
    CASES[case](tmp_path)
    config = ClipConfig(short_side=H, min_side=32, max_pixels=200_000)
    with pytest.raises(Rejected) as error:
        transcode(tmp_path / "a.mp4", config)
    assert error.value.reason == case.split()[0]


def test_the_aspect_is_checked_before_the_frame_is_resized(tmp_path):
    bad_aspect(tmp_path)
    message = "too_large: 64x48 pixels of aspect 60000, displayed as 3840000x48, more than max_pix"
    with pytest.raises(Rejected, match=message):
        transcode(tmp_path / "a.mp4", SMALL)
    tall = ClipConfig(short_side=H, min_side=32, max_pixels=10**9)
    with pytest.raises(Rejected, match="aspect: 64x48 .* an aspect above max_aspect 8"):
        transcode(tmp_path / "a.mp4", tall)


def test_time_is_limited(tmp_path):
    path = write_numbered(tmp_path / "a.mp4")
    with pytest.raises(Rejected, match="too_slow: it takes more than 1e-06 s of work"):
        transcode(path, ClipConfig(short_side=H, min_side=32, max_work=1e-6))


@pytest.mark.parametrize(
    ("field", "value"), [("max_aspect", 0.5), ("max_pixels", 0), ("max_work", -1.0)]
)
def test_bad_limits(field, value):
    with pytest.raises(ValueError, match=f"{field} must be from"):
        ClipConfig(**{field: value})
