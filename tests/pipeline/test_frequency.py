"""Frequency merging and spherical interpolation of latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.pipeline.frequency import lowpass, merge_frequencies, slerp

torch = import_reference("torch")
F = import_reference("torch.nn.functional")

BLOCK_TOLERANCE = 1e-5

KEYS = jax.random.split(jax.random.key(0))
WARPED_BHWC, REFINED_BHWC = (jax.random.normal(key, (2, 8, 12, 4)) for key in KEYS)


def test_lowpass_equals_area_down_and_bilinear_up() -> None:
    latent = torch.from_numpy(np.array(WARPED_BHWC)).permute(0, 3, 1, 2)
    down = F.interpolate(latent, (2, 3), mode="area")
    expected = F.interpolate(down, (8, 12), mode="bilinear").permute(0, 2, 3, 1)
    np.testing.assert_allclose(lowpass(WARPED_BHWC, 4), expected, atol=BLOCK_TOLERANCE)


@pytest.mark.parametrize("size", [(4, 4), (7, 9), (3, 1)])
def test_lowpass_keeps_constants_and_shape_at_any_size(size: tuple[int, int]) -> None:
    constant = jnp.broadcast_to(jnp.arange(4.0), (2, *size, 4))
    np.testing.assert_allclose(lowpass(constant, 4), constant, atol=BLOCK_TOLERANCE)


def test_lowpass_fills_up_sizes_that_do_not_divide() -> None:
    filled_BHWC = jnp.pad(WARPED_BHWC, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="edge")
    ours = lowpass(WARPED_BHWC, 5)
    np.testing.assert_allclose(ours, lowpass(filled_BHWC, 5)[:, :8, :12], atol=BLOCK_TOLERANCE)


def test_lowpass_removes_a_checkerboard() -> None:
    checkers_HW = (-1.0) ** jnp.indices((8, 8)).sum(axis=0)
    np.testing.assert_allclose(lowpass(checkers_HW[None, ..., None], 2), 0, atol=BLOCK_TOLERANCE)


def test_merge_takes_low_from_warped_and_high_from_refined() -> None:
    expected = lowpass(WARPED_BHWC, 4) + (REFINED_BHWC - lowpass(REFINED_BHWC, 4))
    merged = merge_frequencies(WARPED_BHWC, REFINED_BHWC, 4)
    np.testing.assert_allclose(merged, expected, atol=BLOCK_TOLERANCE)
    np.testing.assert_array_equal(merge_frequencies(REFINED_BHWC, REFINED_BHWC), REFINED_BHWC)
    np.testing.assert_allclose(
        merge_frequencies(WARPED_BHWC, REFINED_BHWC, 1), WARPED_BHWC, atol=BLOCK_TOLERANCE
    )


def test_lowpass_by_less_than_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1, got 0"):
        lowpass(WARPED_BHWC, 0)


def test_slerp_on_the_circle() -> None:
    angle_B = jnp.array([0.3, 2.0])
    a = jnp.broadcast_to(jnp.array([2.0, 0.0]), (2, 2))
    b = 2 * jnp.stack([jnp.cos(angle_B), jnp.sin(angle_B)], axis=-1)
    time_B = jnp.array([0.25, 0.5])
    angles = time_B * angle_B
    expected = 2 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    np.testing.assert_allclose(slerp(a, b, time_B), expected, atol=BLOCK_TOLERANCE)


def test_slerp_sees_each_sample_as_one_vector_and_keeps_its_ends() -> None:
    a, b = WARPED_BHWC, REFINED_BHWC
    flat = slerp(a.reshape(2, -1), b.reshape(2, -1), jnp.array([0.3, 0.6]))
    ours = slerp(a, b, jnp.array([0.3, 0.6]))
    np.testing.assert_allclose(ours, flat.reshape(a.shape), atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(slerp(a, b, jnp.array(0.0)), a, atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(slerp(a, b, jnp.array(1.0)), b, atol=BLOCK_TOLERANCE)


@pytest.mark.parametrize("scale", [1.0, 3.0, -1.0])
def test_slerp_between_parallel_vectors_is_linear(scale: float) -> None:
    expected = 0.75 * WARPED_BHWC + 0.25 * scale * WARPED_BHWC
    ours = slerp(WARPED_BHWC, scale * WARPED_BHWC, jnp.array([0.25, 0.25]))
    np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)


def test_slerp_from_zero_is_finite() -> None:
    ours = slerp(jnp.zeros_like(REFINED_BHWC), REFINED_BHWC, jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(ours[1], REFINED_BHWC[1], atol=BLOCK_TOLERANCE)
    assert jnp.isfinite(ours).all()
