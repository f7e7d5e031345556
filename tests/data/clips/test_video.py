"""Frames of video files of many containers and codecs: all of them, parts, windows, upright.

Each frame has its number in its pixels.
"""

from functools import cache

import numpy as np
import pytest

from tests.support.numbered_clips import (
    H,
    numbered_frame,
    read_numbers,
    set_matrix,
)
from tests.support.video_files import (
    COUNT,
    CUT,
    WHOLE,
    write_pictures,
)
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.transcode import transcode
from videogen_jax.data.clips.video import decode_window

FILES = WHOLE | CUT
CONFIG = ClipConfig(short_side=H, min_side=32, min_frames=1)
LEVELS = 12  # of 255, mean difference of a frame after two lossy encodings
PARTS = [(0.2, 0.6), (0.4, 1.0), (1.12, 9.0)]  # in seconds


@pytest.fixture(scope="session")
def path_of(tmp_path_factory):
    """Writes each file once."""
    folder = tmp_path_factory.mktemp("files")

    @cache
    def write(name):
        FILES[name].write(folder / name)
        return folder / name

    return write


def pixels(path, *part):
    clip = transcode(path, CONFIG, *part)
    assert clip.fps == 25
    return decode_window(clip.video, 0, clip.num_frames)


@pytest.mark.parametrize("name", FILES)
def test_whole_files(path_of, name):
    assert read_numbers(pixels(path_of(name))) == FILES[name].shown


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("name", sorted(FILES.keys() - {"gap.avi"}))  # has no constant rate
def test_parts(path_of, name, part):
    """Times are seconds from the first frame that is shown."""
    start, end = (round(seconds * 25) for seconds in part)
    expected = FILES[name].shown[start:end]
    if len(expected) > 1:
        assert read_numbers(pixels(path_of(name), *part)) == expected


@pytest.mark.parametrize("name", WHOLE)
def test_windows(path_of, name):
    video = path_of(name).read_bytes()
    for start in (0, 7, 17):
        window = decode_window(video, start, 4, 3)
        assert read_numbers(window) == [start, start + 3, start + 6, start + 9]


ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), lambda frame: frame),
    "mirrored": ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    "upside down": ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1]),
    "upside down, mirrored": ((1, 0, 0, -1), lambda frame: frame[::-1]),
    "clockwise": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "counterclockwise": ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
    "transposed": ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
    "transposed, upside down": (
        (0, -1, -1, 0),
        lambda frame: frame[::-1, ::-1].transpose(1, 0, 2),
    ),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["b_frames.mov", "hevc.mp4", "start.mp4"])
def test_orientations(path_of, tmp_path, name, orientation):
    matrix, orient = ORIENTATIONS[orientation]
    path = tmp_path / name
    path.write_bytes(set_matrix(path_of(name).read_bytes(), *matrix))
    for part, shown in (((), slice(None)), ((0.2, 0.6), slice(5, 15))):
        expected = np.stack([orient(numbered_frame(n)) for n in FILES[name].shown[shown]])
        found = pixels(path, *part)
        assert found.shape == expected.shape
        differences = np.abs(found.astype(float) - expected).mean(axis=(1, 2, 3))
        assert differences.max() < LEVELS


@pytest.mark.parametrize("orientation,turns", [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_orientation_beside_side_data_that_pyav_does_not_know(tmp_path, orientation, turns):
    frames = pixels(write_pictures(tmp_path / "photos.avi", orientation))
    upright = np.rot90(frames, -turns, axes=(1, 2))
    assert read_numbers(upright) == list(range(COUNT))
