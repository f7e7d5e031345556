"""Windows of video files and of PNG frames: the right frames, or an error that names the file."""

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_frame, read_numbers, write_numbered
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.reading import Window, read_video
from videogen_jax.media.video import Video


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    """40 frames at 24 fps."""
    return write_numbered(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="module")
def pngs(tmp_path_factory):
    frames = np.stack([numbered_frame(number) for number in range(12)])
    return Video(frames, 8.0).save(tmp_path_factory.mktemp("clips") / "clip")


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(4), range(4)),
        (Window(4, "middle"), range(18, 22)),
        (Window(4, fps=8.0), range(0, 12, 3)),
        (Window(4, "middle", fps=11.0), range(16, 24, 2)),
        (Window(40, "random"), range(40)),
    ],
)
def test_the_frames_of_a_file(mp4, window, expected):
    assert read_numbers(read_video(mp4, window, 0)) == list(expected)


def test_random_places_are_a_function_of_seed_and_index(pngs):
    def starts(seed: int) -> list[int]:
        window = Window(3, "random", seed=seed)
        return [read_numbers(read_video(pngs, window, index))[0] for index in range(8)]

    assert starts(0) == starts(0) != starts(1)
    assert len(set(starts(0))) > 3 and max(starts(0)) <= 9
    places = {Window(3, "random").frames_of(index, 12, 8.0).start for index in range(200)}
    assert places == set(range(10))


def test_png_frames_are_exact_and_resized(pngs):
    found = read_video(pngs, Window(2, "middle"), 0)
    np.testing.assert_array_equal(found, [numbered_frame(5), numbered_frame(6)])
    assert read_video(pngs, Window(2, resolution=8), 0).shape == (2, 8, 8, 3)


def test_wrong_frame_counts_are_named(mp4, pngs):
    with pytest.raises(UserError, match="clip.mp4 has 40 frames, expected 41 or more"):
        read_video(mp4, Window(41), 0)
    with pytest.raises(UserError, match="clip.mp4 has 40 frames, expected 46 or more"):
        read_video(mp4, Window(16, fps=8.0), 0)
    with pytest.raises(UserError, match="clip has 12 frames, expected 16 or more"):
        read_video(pngs, Window(16), 0)
    with pytest.raises(UserError, match="PNG frames have no frame rate"):
        read_video(pngs, Window(4, fps=8.0), 0)


def test_unreadable_files_are_named(mp4, pngs, tmp_path):
    text, cut, hole = (tmp_path / name for name in ("a.mp4", "cut.mp4", "hole.mp4"))
    text.write_text("not a video")
    with pytest.raises(UserError, match="a.mp4 cannot be read as a video"):
        read_video(text, Window(2), 0)
    data = mp4.read_bytes()
    cut.write_bytes(data[: len(data) // 3])
    with pytest.raises(UserError, match="cut.mp4 "):
        read_video(cut, Window(40), 0)
    middle = len(data) // 2
    hole.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(UserError, match="hole.mp4 is damaged"):
        read_video(hole, Window(40), 0)
    (tmp_path / "frames").mkdir()
    for number in range(2):
        (tmp_path / "frames" / f"frame_{number:04d}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="frame_0000.png is not an image"):
        read_video(tmp_path / "frames", Window(2), 0)
