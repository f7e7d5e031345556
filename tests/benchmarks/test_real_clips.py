"""The material of `benchmarks/real_clips`: its shots, and the true flows of moved images."""

import itertools

import jax.numpy as jnp
import numpy as np

from benchmarks.real_clips import material
from benchmarks.real_clips.material import LAST, true_flows
from benchmarks.real_clips.translation import errors, inside
from videogen_jax.models.warp import backward_warp


def photograph() -> np.ndarray:
    """Returns a smooth random image, uint8 `[320, 400, 3]`."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 25, 3)).astype(np.uint8)
    return material.cv2.resize(coarse, (400, 320), interpolation=material.cv2.INTER_CUBIC)


def test_the_true_flows_lead_from_the_middle_frame_to_both_ends():
    rng = np.random.default_rng(1)
    for middle in (1, 2, 3):
        square = material.moving_square(photograph(), rng)
        frames = [square.frame(number) for number in (0, middle, LAST)]
        time = np.array([middle / LAST])
        flows = true_flows(LAST * square.velocity_2[None], time, material.SIZE)
        mid = frames[1].astype(np.float32)
        for end, flow in zip(frames[::2], flows, strict=True):
            warped = backward_warp(jnp.asarray(end, jnp.float32)[None], jnp.asarray(flow))[0]
            seen = inside(flow)[0]
            assert np.abs(warped - mid)[seen].mean() < 0.02 * np.abs(end - mid)[seen].mean() + 0.6
            assert 0.5 < seen.mean() < 1


def test_the_errors_of_flows_are_distances_inside_the_frame():
    moved, time = np.array([[4.0, 0.0]]), np.array([0.5])
    true = true_flows(moved, time, 16)
    assert [flow[0, 0, 0].tolist() for flow in true] == [[-0.5, 0], [0.5, 0]]
    wrong = tuple(flow + np.array([0.3, 0.4]) for flow in true)
    np.testing.assert_allclose(errors(wrong, true), [0.5])
    outside = ~(inside(true[0]) & inside(true[1]))
    wrong[0][outside] += 100
    np.testing.assert_allclose(errors(wrong, true), [0.5])


def test_held_out_shots_share_no_frame_with_the_others():
    for a, b in itertools.combinations(material.SHOTS, 2):
        if (a.package, a.file) == (b.package, b.file):
            assert a.end < b.start or b.end < a.start
    assert {shot.held_out for shot in material.SHOTS} == {True, False}
