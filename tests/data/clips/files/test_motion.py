"""Motion and shake of clips whose camera moves as is known."""

import pytest

from tests.support.moving_clips import texture
from videogen_jax.data.clips.files.motion import MotionMeter

RELATIVE = 0.15  # of the flow's accuracy, with what enters and leaves at the borders
NOISE = 1.0  # percent of the short side per second
SIDE = 128


def measured(places: list[tuple[float, float]], fps: float, scale: int = 1) -> tuple[float, float]:
    """Measures a view of SIDE pixels that lies at these places (x, y) of a still picture."""
    picture, meter = texture(320), MotionMeter()
    for number, (x, y) in enumerate(places):
        left, top = round(x), round(y)
        view = picture[top : top + SIDE, left : left + SIDE]
        meter.see(number / fps, view.repeat(scale, axis=0).repeat(scale, axis=1))
    return meter.result()


@pytest.mark.parametrize(("fps", "scale"), [(8, 1), (24, 1), (24, 2)])
def test_a_pan_has_motion_and_no_shake(fps, scale):
    """48 pixels per second of 128, at any rate and size."""
    places = [(10 + 48 * k / fps, 20) for k in range(2 * fps)]
    motion, shake = measured(places, fps, scale)
    assert motion == pytest.approx(100 * 48 / SIDE, rel=RELATIVE)
    assert shake < 3 * NOISE


def test_shake_is_the_change_of_the_camera_velocity():
    """Four pixels to and fro in every step of an eighth of a second: 32 and then -32 a second."""
    places = [(20 + 4 * (k % 2), 20) for k in range(16)]
    motion, shake = measured(places, 8)
    assert motion == pytest.approx(100 * 32 / SIDE, rel=RELATIVE)
    assert shake == pytest.approx(100 * 64 / SIDE, rel=RELATIVE)


def test_nothing_moves():
    assert max(measured([(20, 20)] * 16, 8)) < NOISE
    assert measured([(20, 20)], 8) == (0, 0)
