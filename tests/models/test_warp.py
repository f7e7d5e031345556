"""Warping and resizing: comparison with torch, and the conventions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.models import warp

torch = import_reference("torch")
F = import_reference("torch.nn.functional")
torch_ifrnet = import_reference("tests.support.torch_ifrnet")

BLOCK_TOLERANCE = 1e-5

KEYS = jax.random.split(jax.random.key(0), 3)
IMAGE_BHWC = jax.random.normal(KEYS[0], (2, 7, 10, 3))
# Large enough for many positions outside of the image on each side.
FLOW_BHW2 = 4 * jax.random.normal(KEYS[1], (2, 7, 10, 2))
COTANGENT_BHWC = jax.random.normal(KEYS[2], IMAGE_BHWC.shape)


def to_torch(x_BHWC: jax.Array) -> torch.Tensor:
    return torch.from_numpy(np.array(x_BHWC)).permute(0, 3, 1, 2)


def assert_close(ours_BHWC: jax.Array, reference_BCHW: torch.Tensor) -> None:
    reference_BHWC = reference_BCHW.detach().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours_BHWC, reference_BHWC, atol=BLOCK_TOLERANCE)


def test_backward_warp_and_its_gradients_equal_grid_sample() -> None:
    image, flow = (to_torch(x).requires_grad_() for x in (IMAGE_BHWC, FLOW_BHW2))
    reference = torch_ifrnet.warp(image, flow)
    reference.backward(to_torch(COTANGENT_BHWC))
    ours, pullback = jax.vjp(warp.backward_warp, IMAGE_BHWC, FLOW_BHW2)
    assert_close(ours, reference)
    image_gradient, flow_gradient = pullback(COTANGENT_BHWC)
    assert image.grad is not None and flow.grad is not None
    assert_close(image_gradient, image.grad)
    assert_close(flow_gradient, flow.grad)


def test_zero_flow_is_the_identity() -> None:
    np.testing.assert_array_equal(
        warp.backward_warp(IMAGE_BHWC, jnp.zeros((2, 7, 10, 2))), IMAGE_BHWC
    )


def test_flow_points_to_where_a_pixel_comes_from() -> None:
    flow_BHW2 = jnp.broadcast_to(jnp.array([2.0, -1.0]), (2, 7, 10, 2))
    warped_BHWC = warp.backward_warp(IMAGE_BHWC, flow_BHW2)
    np.testing.assert_array_equal(warped_BHWC[:, 1:, :-2], IMAGE_BHWC[:, :-1, 2:])
    np.testing.assert_array_equal(warped_BHWC[:, 0, :-2], IMAGE_BHWC[:, 0, 2:])


def test_positions_are_exact_for_bfloat16_images() -> None:
    bits = jax.random.bernoulli(KEYS[0], shape=(1, 1, 600, 1)).astype(jnp.bfloat16)
    flow_BHW2 = jnp.broadcast_to(jnp.array([1.0, 0.0]), (1, 1, 600, 2))
    warped_BHWC = warp.backward_warp(bits, flow_BHW2)
    assert warped_BHWC.dtype == jnp.bfloat16
    np.testing.assert_array_equal(warped_BHWC[:, :, :-1], bits[:, :, 1:])


def test_flow_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 7, 10, 2\)"):
        warp.backward_warp(IMAGE_BHWC, FLOW_BHW2[:, :5])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(14, 20), (16, 13), (5, 4), (1, 10)])
def test_resize_bilinear_equals_interpolate(size: tuple[int, int], align_corners: bool) -> None:
    reference = F.interpolate(
        to_torch(IMAGE_BHWC), size, mode="bilinear", align_corners=align_corners
    )
    assert_close(warp.resize_bilinear(IMAGE_BHWC, size, align_corners), reference)


def test_resize_flow_upwards_equals_ifrnet() -> None:
    reference = 4 * torch_ifrnet.upsample(to_torch(FLOW_BHW2), 4)
    assert_close(warp.resize_flow(FLOW_BHW2, (28, 40)), reference)


def test_resize_flow_rescales_each_axis_by_its_own_factor() -> None:
    flow_BHW2 = jnp.broadcast_to(jnp.array([6.0, -8.0]), (1, 12, 16, 2))
    resized_BHW2 = warp.resize_flow(flow_BHW2, (3, 8))
    expected_BHW2 = jnp.broadcast_to(jnp.array([3.0, -2.0]), (1, 3, 8, 2))
    np.testing.assert_allclose(resized_BHW2, expected_BHW2, atol=BLOCK_TOLERANCE)


def test_resize_flow_downwards_averages() -> None:
    """A single moving pixel of a block still counts; sampling the middle pixels would lose it."""
    flow_BHW2 = jnp.zeros((1, 16, 16, 2)).at[:, 8, 8].set(1.0)
    assert (warp.resize_flow(flow_BHW2, (2, 2))[:, 1, 1] > 0).all()


def test_pad_to_multiple_repeats_the_last_row_and_column() -> None:
    padded_BHWC = warp.pad_to_multiple(IMAGE_BHWC, 4)
    assert padded_BHWC.shape == (2, 8, 12, 3)
    np.testing.assert_array_equal(padded_BHWC[:, :7, :10], IMAGE_BHWC)
    np.testing.assert_array_equal(padded_BHWC[:, 7, 11], IMAGE_BHWC[:, 6, 9])
    np.testing.assert_array_equal(warp.pad_to_multiple(padded_BHWC, 4), padded_BHWC)
