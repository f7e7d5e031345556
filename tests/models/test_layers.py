"""Layers that all networks share: comparison with torch and diffusers, and independence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.models.layers import (
    Conv,
    EmbeddingMLP,
    GroupNorm,
    PointwiseConv,
    fold_frames,
    sinusoidal_embedding,
    unfold_frames,
)

torch = import_reference("torch")
F = import_reference("torch.nn.functional")
embeddings = import_reference("diffusers.models.embeddings")

BLOCK_TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-2  # bfloat16 keeps 8 bits

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def to_torch(x_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x_NHWC).permute(0, 3, 1, 2)


def assert_close(ours_NHWC: jax.Array, theirs_NCHW: torch.Tensor) -> None:
    theirs_NHWC = theirs_NCHW.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours_NHWC, theirs_NHWC, atol=BLOCK_TOLERANCE)


def test_frames_fold_clip_by_clip():
    x_BFHWC = normal(2, 3, 4, 5, 6)
    folded_NHWC = fold_frames(x_BFHWC)
    np.testing.assert_array_equal(folded_NHWC[1 * 3 + 2], x_BFHWC[1, 2])
    np.testing.assert_array_equal(unfold_frames(folded_NHWC, 3), x_BFHWC)


def test_sinusoidal_embedding_is_diffusers():
    positions = np.array([0.0, 1.0, 7.5, 999.0], np.float32)
    theirs = embeddings.get_timestep_embedding(torch.from_numpy(positions), 12, True, 0)
    # The largest angle is 999, and float32 has steps of 6e-5 there.
    np.testing.assert_allclose(sinusoidal_embedding(positions, 12), theirs, atol=1e-4)
    assert sinusoidal_embedding(positions.reshape(2, 2), 12).shape == (2, 2, 12)


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (3, 4), (8, 6)])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (0, 1))])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_is_torchs_on_grids_of_any_size(size, padding, stride):
    """The smallest grids are computed as a matrix product."""
    x_NHWC, kernel, bias = normal(2, *size, 3), normal(3, 3, 3, 5), normal(5)
    conv = Conv(5, stride=stride, padding=padding)
    ours = conv.apply({"params": {"kernel": kernel, "bias": bias}}, x_NHWC)
    (top, bottom), (left, right) = padding
    padded = F.pad(to_torch(x_NHWC), (left, right, top, bottom))
    weight = torch.from_numpy(kernel).permute(3, 2, 0, 1)
    assert_close(ours, F.conv2d(padded, weight, torch.from_numpy(bias), stride))


def test_pointwise_conv_has_a_convolutions_kernel():
    x_NHWC, kernel, bias = normal(2, 4, 5, 3), normal(1, 1, 3, 6), normal(6)
    ours = PointwiseConv(6).apply({"params": {"kernel": kernel, "bias": bias}}, x_NHWC)
    expected = np.einsum("nhwi,io->nhwo", x_NHWC, kernel[0, 0]) + bias
    np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_norm_is_torchs(groups):
    x_NHWC, scale, bias = 3 * normal(2, 4, 5, 8) + 1, normal(8), normal(8)
    ours = GroupNorm(groups, 1e-2).apply({"params": {"scale": scale, "bias": bias}}, x_NHWC)
    weights = torch.from_numpy(scale), torch.from_numpy(bias)
    assert_close(ours, F.group_norm(to_torch(x_NHWC), groups, *weights, eps=1e-2))


def test_group_norm_keeps_images_apart_and_computes_in_float32():
    x_NHWC = normal(2, 4, 4, 8) + 300
    params = {"params": {"scale": np.ones(8, np.float32), "bias": np.zeros(8, np.float32)}}
    alone = GroupNorm(2, 1e-5).apply(params, x_NHWC[:1])
    np.testing.assert_array_equal(GroupNorm(2, 1e-5).apply(params, x_NHWC)[:1], alone)
    half = GroupNorm(2, 1e-5, jnp.bfloat16).apply(params, x_NHWC)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half[:1].astype(np.float32), alone, rtol=HALF_TOLERANCE, atol=1e-3)


def test_embedding_mlp_can_start_at_zero():
    x = normal(3, 4)
    for zero_init in (False, True):
        out, variables = EmbeddingMLP(6, zero_init).init_with_output(jax.random.key(0), x)
        assert out.shape == (3, 6) and out.any() != zero_init
        first, last = variables["params"]["linear_1"], variables["params"]["linear_2"]
        hidden = x @ first["kernel"] + first["bias"]
        expected = jax.nn.silu(hidden) @ last["kernel"] + last["bias"]
        np.testing.assert_allclose(out, expected, atol=BLOCK_TOLERANCE)
