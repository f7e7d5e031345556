"""The photometric loss of flows, on an image that moves by a known amount."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax.errors import UserError
from videogen_jax.training.losses.photometric import photometric_loss, smoothness_loss

SIZE, GRID = 32, 8  # of the frames, of the flows
MOTION = np.array([2.4, -1.2])  # pixels of the frames from a to b
TIME = 0.25
TRUE = (-TIME * MOTION, (1 - TIME) * MOTION)

loss = jax.jit(photometric_loss, static_argnums=(2, 3))


@functools.cache
def frame(time: float) -> np.ndarray:
    """Returns waves of random directions, moved to their place at a time, `[1, H, W, 3]`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] - time * MOTION[::-1, None, None]
    waves = rng.uniform(-0.8, 0.8, (12, 2)), rng.uniform(0, 7, (12, 3, 1, 1))
    moved = [np.sin(a * x + b * y + phase) for (a, b), phase in zip(*waves, strict=True)]
    return 0.25 * np.sum(moved, axis=0).transpose(1, 2, 0)[None].astype(np.float32)


FRAMES = (frame(0.0), frame(TIME), frame(1.0))


def flow(pixels: np.ndarray) -> jax.Array:
    """Returns a constant flow on the coarse grid, from pixels of the frames."""
    scaled = jnp.asarray(pixels, jnp.float32) * GRID / SIZE
    return jnp.broadcast_to(scaled, (1, GRID, GRID, 2))


def test_descent_from_no_motion_ends_at_the_true_motion():
    @jax.jit
    def descend(found: jax.Array) -> jax.Array:
        gradient = jax.grad(lambda m: photometric_loss((flow(m[0]), flow(m[1])), FRAMES, 7, 0.1))
        slope = gradient(found)
        return found - 0.1 * slope / jnp.abs(slope).max()

    found = jnp.zeros((2, 2))
    for _ in range(60):
        found = descend(found)
    np.testing.assert_allclose(found, TRUE, atol=0.1)


def test_pixels_from_outside_the_frame_do_not_count():
    outside = flow(np.array([SIZE, 0.0]))
    value_and_slope = jax.jit(
        jax.value_and_grad(lambda f: photometric_loss((f, f), FRAMES, 7, 0.0))
    )
    value, slope = value_and_slope(outside)
    assert value < 0.01 < loss((flow(np.zeros(2)),) * 2, FRAMES, 7, 0.0)
    assert not slope.any()


def test_smoothness_is_its_formula():
    rng = np.random.default_rng(1)
    image, field = rng.normal(size=(1, 5, 6, 3)), rng.normal(size=(1, 5, 6, 2))
    expected = sum(
        (
            np.exp(-10 * np.abs(np.diff(image, axis=axis)).mean(-1, keepdims=True))
            * np.hypot(np.diff(field, axis=axis), 1e-3)
        ).mean()
        for axis in (1, 2)
    )
    found = smoothness_loss(jnp.asarray(field), jnp.asarray(image))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rough = [loss((flow(TRUE[0]), flow(TRUE[1])), FRAMES, 7, weight) for weight in (0.0, 1.0)]
    np.testing.assert_allclose(rough[0], rough[1], rtol=0.05)  # a constant flow is smooth


def test_frames_smaller_than_a_patch_are_refused():
    with pytest.raises(UserError, match="at least 7×7 pixels"):
        photometric_loss((flow(MOTION), flow(MOTION)), tuple(f[:, :6] for f in FRAMES), 7, 0.0)
