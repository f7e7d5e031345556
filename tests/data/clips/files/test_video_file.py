"""A video file as a stream of frames at a constant rate."""

from fractions import Fraction

import av
import pytest

from tests.support.numbered_clips import (
    H,
    W,
    read_numbers,
    turn_clockwise,
    write_numbered,
    write_sound,
)
from videogen_jax.data.clips.files.video_file import VideoFile
from videogen_jax.errors import MissingFile, UserError


def test_frames_come_in_order_and_again(tmp_path):
    file = VideoFile(write_numbered(tmp_path / "in.mp4", 12))
    assert (file.rate, file.num_frames, file.height, file.width) == (25, 12, H, W)
    assert read_numbers(list(file.frames())) == list(range(12))
    assert read_numbers(list(file.frames())) == list(range(12))


def test_the_ntsc_rate_is_exact(tmp_path):
    file = VideoFile(write_numbered(tmp_path / "in.mp4", 12, rate=Fraction(30000, 1001)))
    assert file.rate == Fraction(30000, 1001)


def test_a_variable_rate_becomes_constant(tmp_path):
    """Frame 5 is shown three times as long as the others. The first is not at time 0."""
    times = [520 + 40 * index + 80 * (index > 5) for index in range(12)]
    file = VideoFile(write_numbered(tmp_path / "in.mkv", 12, times_ms=times))
    shown = [*range(6), 5, 6, *range(6, 12)]
    assert (file.rate, file.num_frames) == (25, 14)
    assert read_numbers(list(file.frames())) == shown


def test_frames_are_upright(tmp_path):
    path = write_numbered(tmp_path / "in.mp4", 3)
    path.write_bytes(turn_clockwise(path.read_bytes()))
    file = VideoFile(path)
    assert (file.height, file.width) == (W, H)
    assert {frame.shape for frame in file.frames()} == {(W, H, 3)}


def test_one_frame_is_a_video(tmp_path):
    file = VideoFile(write_numbered(tmp_path / "in.mp4", 1))
    assert (file.num_frames, len(list(file.frames()))) == (1, 1)


def test_damaged_frames_are_replaced_by_their_neighbours_and_reported(tmp_path, capfd):
    path = write_numbered(tmp_path / "in.mp4", 12, g="1", bf="0")
    with av.open(path) as container:
        damaged = [bytes(packet) for packet in container.demux(video=0)][6]
    path.write_bytes(path.read_bytes().replace(damaged, bytes(len(damaged))))
    file = VideoFile(path)
    numbers = read_numbers(list(file.frames()))
    assert numbers == [0, 1, 2, 3, 4, 5, 5, 7, 8, 9, 10, 11]
    assert "in.mp4: frames that cannot be decoded: 1 (" in capfd.readouterr().err


def test_what_is_no_video_is_refused_by_name(tmp_path):
    sound = write_sound(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    for path, message in [
        (sound, "sound.mp4 is not a video that can be read: the file has only: audio"),
        (tmp_path / "text.mp4", "text.mp4 is not a video that can be read"),
        (tmp_path / "empty.mp4", "empty.mp4 is not a video that can be read: the file is empty"),
        (tmp_path, "is not a video that can be read: it is a folder, expected a regular file"),
    ]:
        with pytest.raises(UserError, match=message):
            VideoFile(path)
    with pytest.raises(MissingFile, match="no file .*none.mp4"):
        VideoFile(tmp_path / "none.mp4")
