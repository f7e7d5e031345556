"""Rates of windows: which strides of a clip they are, and how a range is drawn from."""

import numpy as np
import pytest

from videogen_jax.data.rates import check_fps, draw, strides

FRAMES = 1000


def strides_of(fps, own: float, frames: int = FRAMES, num_frames: int = 16) -> tuple[int, int]:
    smallest, largest = strides(fps, np.array([own]), np.array([frames]), num_frames)
    return int(smallest[0]), int(largest[0])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (24.0, (2, 6)),  # 12, 8, 6, 4.8, 4 fps
        (30.0, (2, 7)),
        (30000 / 1001, (2, 7)),
        (16.0, (1, 4)),  # both ends of the range belong to it
        (16000 / 1001, (1, 4)),  # 3.996 fps counts as 4
        (60.0, (4, 15)),
        (240.0, (15, 60)),
        (5.0, (1, 1)),
    ],
)
def test_a_range_has_the_strides_of_the_rates_in_it(own, expected):
    smallest, largest = strides_of((4.0, 16.0), own)
    assert (smallest, largest) == expected
    assert own / smallest <= 16 * 1.002 and own / largest >= 4 * 0.998
    assert smallest == 1 or own / (smallest - 1) > 16
    assert own / (largest + 1) < 4


def test_a_range_has_no_longer_windows_than_the_clip():
    assert strides_of((4.0, 16.0), 24.0, frames=61) == (2, 4)  # 4 × 15 + 1
    assert strides_of((4.0, 16.0), 24.0, frames=60) == (2, 3)
    smallest, largest = strides_of((4.0, 16.0), 24.0, frames=30)
    assert largest < smallest
    assert strides_of((4.0, 16.0), 24.0, frames=1, num_frames=1)[0] == 2


@pytest.mark.parametrize("own", [3.9, 1.0])
def test_a_slower_clip_has_no_stride_of_a_range(own):
    smallest, largest = strides_of((4.0, 16.0), own)
    assert largest < smallest


def test_one_rate_has_the_nearest_stride():
    assert strides_of(8.0, 30.0) == (4, 4)
    assert strides_of(8.0, 5.0) == (1, 1)
    assert strides_of(None, 30.0) == (1, 1)


def test_octaves_are_equally_likely():
    rng = np.random.default_rng(0)
    drawn = np.array([draw(4.0, 16.0, rng) for _ in range(4000)])
    assert drawn.min() >= 4.0 and drawn.max() <= 16.0
    assert abs((drawn < 8.0).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("fps", "message"),
    [
        (0.0, "fps must be > 0, got 0"),
        (float("nan"), "fps must be > 0, got nan"),
        (float("inf"), "fps must be > 0, got inf"),
        ((0.0, 8.0), "fps must be > 0, got 0 to 8"),
        ((8.0, float("inf")), "fps must be > 0, got 8 to inf"),
        ((16.0, 4.0), "fps must be a range from low to high, got 16 to 4"),
    ],
)
def test_bad_rates(fps, message):
    with pytest.raises(ValueError, match=message):
        check_fps(fps)
