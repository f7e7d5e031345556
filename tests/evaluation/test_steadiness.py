"""Warping error and flicker of videos whose motion is known."""

import math

import cv2
import numpy as np
import pytest

from videogen_jax.evaluation.steadiness import (
    Flows,
    estimate_flows,
    flicker,
    seen_in_both,
    warping_error,
)

SIZE, FRAMES, STEP = 64, 4, 3
RNG = np.random.default_rng(0)
TEXTURE = cv2.GaussianBlur(RNG.integers(0, 256, (SIZE, 2 * SIZE, 3), np.uint8), (0, 0), 3)
TEXTURE = cv2.normalize(TEXTURE, None, 0, 255, cv2.NORM_MINMAX)


def moving(step: int = STEP) -> np.ndarray:
    """The texture moves left by `step` pixels a frame."""
    return np.stack([TEXTURE[:, step * i : step * i + SIZE] for i in range(FRAMES)])


def constant_flows(step: float) -> Flows:
    forward = np.zeros((FRAMES - 1, SIZE, SIZE, 2), np.float32)
    forward[..., 0] = -step
    return Flows(forward, -forward)


def flickering(video: np.ndarray, level: int) -> np.ndarray:
    """Every second frame is brighter."""
    brighter = video.astype(int)
    brighter[1::2] += level
    return brighter.clip(0, 255).astype(np.uint8)


def test_the_flow_of_a_shift_is_found():
    flows = estimate_flows(moving())
    inside = (slice(None), slice(10, -10), slice(16, -16))
    for flow, sign in ((flows.forward_PHW2, -1), (flows.backward_PHW2, 1)):
        assert flow.shape == (FRAMES - 1, SIZE, SIZE, 2)
        error = np.abs(flow[inside] - np.array([sign * STEP, 0]))
        assert np.median(error) < 0.2


def test_the_true_flow_of_a_shift_has_no_error():
    assert warping_error(moving(), constant_flows(STEP)) == 0
    bright = flickering(moving() // 2, 20)
    assert warping_error(bright, constant_flows(STEP)) == pytest.approx((20 / 255) ** 2, rel=1e-5)


def test_motion_costs_little_and_flicker_much():
    still = np.square(np.diff(moving() / 255, axis=0)).mean()
    assert warping_error(moving()) < 0.05 * still
    assert warping_error(flickering(moving() // 2, 20)) > 10 * warping_error(moving() // 2)


def test_pixels_that_leave_or_are_covered_do_not_count():
    forward = np.zeros((1, 20, 20, 2), np.float32)
    backward = np.zeros((1, 20, 20, 2), np.float32)
    assert np.asarray(seen_in_both(forward, backward)).all()
    # A square of 6 moves right by 4: it covers the 4 columns before it, which do not move.
    forward[0, 5:11, 4:10, 0] = 4
    backward[0, 5:11, 8:14, 0] = -4
    seen = np.asarray(seen_in_both(forward, backward))[0]
    assert not seen[5:11, 10:14].any()  # covered
    assert seen[7:9, 6:8].all()  # inside the square
    assert not seen[7, 4]  # at its border
    assert seen[0:3].all() and seen[:, 17:].all()
    out = np.full((1, 20, 20, 2), 3, np.float32)
    seen = np.asarray(seen_in_both(out, -out))[0]
    assert seen[:17, :17].all() and not seen[17:].any() and not seen[:, 17:].any()


def test_flicker_is_the_change_of_what_is_still():
    video = np.repeat(moving()[:1] // 2, FRAMES, 0)
    assert flicker(video) == 0
    assert flicker(flickering(video, 8), constant_flows(0)) == pytest.approx(8)
    assert math.isnan(flicker(moving(), constant_flows(STEP)))
    gone = constant_flows(SIZE)
    assert math.isnan(warping_error(moving(), gone))


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (3, 31, 64, 3)])
def test_what_has_no_flow_is_refused(shape):
    with pytest.raises(ValueError, match="optical flow needs 2 frames of 32 pixels"):
        warping_error(np.zeros(shape, np.uint8))
