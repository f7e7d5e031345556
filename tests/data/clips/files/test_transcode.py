"""Transcoding a file to a clip: the exact frames."""

import io
from fractions import Fraction

import numpy as np
import pytest

from tests.support.numbered_clips import (
    H,
    W,
    numbered_frame,
    read_number,
    read_numbers,
    turn_clockwise,
    write_frames,
    write_numbered,
)
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.constant_rate import resample
from videogen_jax.data.clips.files.transcode import Clip, transcode
from videogen_jax.data.clips.video import decode_window

SMALL = ClipConfig(short_side=H, min_side=32)
ALL = list(range(40))
COLOUR_LEVELS = 4  # levels of 255, after two conversions to yuv420p and back


def pixels(clip: Clip) -> np.ndarray:
    return decode_window(clip.video, 0, clip.num_frames)


def numbers(clip: Clip) -> list[int]:
    return read_numbers(pixels(clip))


def nearest(times: list[float], rate: float, count: int) -> list[int]:
    """Returns the frame nearest to each instant; of two, the earlier one."""
    return [
        min(range(len(times)), key=lambda i: (abs(times[i] - k / rate), i)) for k in range(count)
    ]


@pytest.mark.parametrize(
    "name,options",
    [
        ("plain.mp4", {}),
        ("b_frames.mp4", {"bf": "3", "g": "30"}),
        ("open_gop.mkv", {"bf": "3", "g": "10", "x264-params": "open-gop=1"}),
        ("rounded_times.mkv", {"rate": Fraction(30000, 1001)}),
        ("like_ucf101.avi", {"codec": "mpeg4", "bf": "2"}),
        ("ten_bit.mp4", {"pix_fmt": "yuv420p10le"}),
        ("faststart.mp4", {"container": {"movflags": "faststart"}}),
    ],
)
def test_constant_rate_keeps_every_frame(tmp_path, name, options):
    clip = transcode(write_numbered(tmp_path / name, **options), SMALL)
    assert numbers(clip) == ALL and clip.num_frames == 40
    assert (clip.h, clip.w) == (H, W)
    assert clip.fps == pytest.approx(float(options.get("rate", 25)), rel=1e-6)


@pytest.mark.parametrize("name", ["claims_its_mean.mp4", "claims_25.mkv"])
def test_variable_rate_becomes_that_of_the_parts_that_move(tmp_path, name):
    times = [40 * i for i in range(24)] + [960 + 150 * i for i in range(6)]
    path = write_numbered(tmp_path / name, count=30, times_ms=times)
    clip = transcode(path, SMALL)
    seconds = [time / 1000 for time in times]
    count = round((seconds[-1] + 0.04) * 25)
    assert clip.fps == 25 and clip.num_frames == count
    assert numbers(clip) == nearest(seconds, 25, count)


@pytest.mark.parametrize(
    "fps,expected",
    [(50, sorted(ALL * 2)), (12.5, ALL[::2]), (10, [5 * k // 2 for k in range(16)])],
)
def test_requested_rate(tmp_path, fps, expected):
    clip = transcode(write_numbered(tmp_path / "a.mp4"), ClipConfig(H, fps, min_side=32))
    assert (numbers(clip), clip.fps) == (expected, fps)


def test_fast_files_are_thinned_out(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", rate=100)
    clip = transcode(path, ClipConfig(H, max_fps=50, min_side=32))
    assert (numbers(clip), clip.fps) == (ALL[::2], 50)


def test_resample_by_hand():
    timed = [(0.0, "a"), (0.1, "b"), (0.5, "c")]
    assert "".join(resample(iter(timed), Fraction(10), 0.6)) == "abbbcc"
    assert "".join(resample(iter(timed[:1]), Fraction(10), 0.0)) == "a"
    assert "".join(resample(iter(timed), Fraction(2), 0.6)) == "a"


@pytest.mark.parametrize("options", [{}, {"bf": "3", "g": "30"}])
def test_part(tmp_path, options):
    path = write_numbered(tmp_path / "a.mp4", **options)
    assert numbers(transcode(path, SMALL, 0.4, 1.2)) == ALL[10:30]
    assert numbers(transcode(path, SMALL, 0.8)) == ALL[20:]


def test_odd_sides_lose_a_line(tmp_path):
    path = write_numbered(tmp_path / "odd.mp4", h=H + 1, w=W + 1, pix_fmt="yuv444p")
    clip = transcode(path, ClipConfig(short_side=256, min_side=32))
    assert (clip.h, clip.w) == (H, W) and numbers(clip) == ALL


def test_shrinks_to_the_short_side_and_even(tmp_path):
    path = write_numbered(tmp_path / "large.mp4", h=120, w=214)
    clip = transcode(path, SMALL)
    assert (clip.h, clip.w) == (48, 86) and numbers(clip) == ALL


def test_shrinking_does_not_alias(tmp_path):
    """One-pixel stripes become grey; something above them moves."""
    stripes = np.zeros((96, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    frames = [stripes.copy() for _ in range(20)]
    for index, frame in enumerate(frames):
        frame[:20, 4 * index : 4 * index + 20] = 255
    path = tmp_path / "stripes.mp4"
    write_frames(path, frames, pix_fmt="yuv444p", crf="0")
    clip = transcode(path, ClipConfig(short_side=32, min_side=32))
    assert 100 < pixels(clip)[:, 16:].min() and pixels(clip)[:, 16:].max() < 156


def test_rotation(tmp_path):
    path = write_numbered(tmp_path / "a.mp4")
    path.write_bytes(turn_clockwise(path.read_bytes()))
    clip = transcode(path, SMALL)
    assert (clip.h, clip.w) == (64, 48)
    upright = np.rot90(pixels(clip), 1, axes=(1, 2))  # rotated back, counterclockwise
    assert read_numbers(upright) == ALL
    # The matrix moves the first corner of the stored picture to the top right.
    first_bit = [frame[4, -4].mean() > 128 for frame in pixels(clip)]
    assert first_bit == [bool(number & 1) for number in ALL]


def test_pixel_aspect(tmp_path):
    path = tmp_path / "wide.mp4"
    frames = [numbered_frame(number) for number in ALL]
    write_frames(path, frames, **{"x264-params": "sar=2/1"})
    clip = transcode(path, SMALL)
    assert (clip.h, clip.w) == (H, 2 * W) and numbers(clip) == ALL


@pytest.mark.parametrize("side", [64, 720], ids=["bt601", "bt709"])
def test_colours(tmp_path, side):
    """Small frames without tags are BT.601, large ones BT.709; clips are tagged."""
    from av.video.reformatter import Colorspace

    colour, frames = np.array([200, 40, 90], np.uint8), []
    for index in range(16):
        frame = np.full((side, side, 3), colour)
        frame[: side // 4, : (index + 1) * side // 16] = 255
        frames.append(frame)
    path = tmp_path / "colour.mp4"
    matrix = Colorspace.ITU709 if side >= 720 else Colorspace.ITU601
    write_untagged(path, frames, matrix)
    clip = transcode(path, ClipConfig(short_side=64, min_side=32))
    middle = pixels(clip)[:, 32:].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(middle, colour, atol=COLOUR_LEVELS)


def write_untagged(path, frames, matrix):
    import av

    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            file.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=matrix)))
        file.mux(stream.encode())


def test_content_counts_not_the_extension(tmp_path):
    path = write_numbered(tmp_path / "a.mp4").rename(tmp_path / "really_mp4.avi")
    assert numbers(transcode(path, SMALL)) == ALL


def test_bytes(tmp_path):
    data = write_numbered(tmp_path / "a.mp4").read_bytes()
    assert numbers(transcode(data, SMALL)) == ALL


def test_clips_have_short_gops_and_no_b_frames(tmp_path):
    import av

    clip = transcode(write_numbered(tmp_path / "a.mp4"), SMALL)
    with av.open(io.BytesIO(clip.video)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    assert max(np.diff([*keys, 40])) <= 12
    assert all(packet.pts == packet.dts for packet in packets)


def test_clips_are_encoded_by_settings_that_give_the_same_bytes_each_time(tmp_path):
    """x264 writes its settings into the stream; others depend on timing or the number of cores."""
    clip = transcode(write_numbered(tmp_path / "a.mp4"), SMALL)
    assert b" threads=1 " in clip.video and b" mbtree=0 " in clip.video


def test_numbers_are_read_back():
    assert [read_number(numbered_frame(number)) for number in range(256)] == list(range(256))
    assert read_number(np.full((H, W, 3), 128, np.uint8)) == -1
