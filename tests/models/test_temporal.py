"""Temporal layers: the identity at initialisation, and which values they mix after training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.references import import_reference
from videogen_jax.models.temporal import FrameEmbedding, TemporalAttention, TemporalConv

torch = import_reference("torch")
F = import_reference("torch.nn.functional")

BLOCK_TOLERANCE = 1e-5

CLIPS, FRAMES, SIZE, CHANNELS = 2, 4, 3, 8
RNG = np.random.default_rng(0)
X_NHWC = RNG.standard_normal((CLIPS * FRAMES, SIZE, SIZE, CHANNELS), np.float32)

LAYERS = pytest.mark.parametrize("layer", [TemporalConv(), TemporalAttention(2)])


def run(layer, params, x_NHWC=X_NHWC, frames=FRAMES):
    return np.asarray(jax.jit(layer.apply, static_argnums=2)(params, x_NHWC, frames))


def random_params(layer):
    return tiny_model.random_params(lambda key: layer.init(key, X_NHWC, FRAMES), seed=1)


@LAYERS
def test_identity_at_initialisation_bit_for_bit(layer):
    params = layer.init(jax.random.key(0), X_NHWC, FRAMES)
    np.testing.assert_array_equal(run(layer, params), X_NHWC)


@LAYERS
def test_mixes_frames_of_one_pixel_of_one_clip(layer):
    params = random_params(layer)
    before = run(layer, params)
    changed_NHWC = X_NHWC.copy()
    changed_NHWC[1, 2, 0] *= -1.0  # frame 1 of clip 0, one pixel
    moved = (run(layer, params, changed_NHWC) != before).any(axis=-1)
    assert moved[:3, 2, 0].all()  # also the neighbours
    assert not moved[FRAMES:].any()
    moved[:, 2, 0] = False
    assert not moved.any()


@LAYERS
def test_other_frame_counts_run(layer):
    params = random_params(layer)
    for frames in (1, 2, 8):
        assert run(layer, params, frames=frames).shape == X_NHWC.shape


def test_conv_is_torchs_conv1d_beside_its_input():
    layer = TemporalConv()
    params = random_params(layer)
    weights = params["params"]
    weights["bias"] = RNG.standard_normal(CHANNELS, np.float32)
    x_PCF = X_NHWC.reshape(CLIPS, FRAMES, -1, CHANNELS).transpose(0, 2, 3, 1)
    theirs = F.conv1d(
        torch.from_numpy(x_PCF.reshape(-1, CHANNELS, FRAMES)),
        torch.from_numpy(weights["kernel"]).permute(2, 1, 0),
        torch.from_numpy(weights["bias"]),
        padding=1,
    )
    theirs_NHWC = theirs.numpy().reshape(CLIPS, SIZE, SIZE, CHANNELS, FRAMES)
    expected = X_NHWC + theirs_NHWC.transpose(0, 4, 1, 2, 3).reshape(X_NHWC.shape)
    np.testing.assert_allclose(run(layer, params), expected, atol=BLOCK_TOLERANCE)


def test_attention_reaches_all_frames_and_knows_their_order():
    layer = TemporalAttention(2)
    params = random_params(layer)
    before = run(layer, params)
    changed_NHWC = X_NHWC.copy()
    changed_NHWC[0] *= -1.0
    assert (run(layer, params, changed_NHWC) != before)[:FRAMES].any(axis=(1, 2, 3)).all()
    backwards = X_NHWC.reshape(CLIPS, FRAMES, *X_NHWC.shape[1:])[:, ::-1].reshape(X_NHWC.shape)
    mirrored = run(layer, params, backwards).reshape(CLIPS, FRAMES, -1)[:, ::-1]
    assert np.abs(mirrored.reshape(before.shape) - before).max() > 0.01


def test_frame_embedding_starts_at_zero_and_then_distinguishes_frames_and_texts():
    layer = FrameEmbedding(features=6, index_features=4)
    pooled_BD = RNG.standard_normal((2, 5), np.float32)
    init = lambda key: layer.init(key, pooled_BD, FRAMES)
    assert not layer.apply(init(jax.random.key(0)), pooled_BD, FRAMES).any()
    embedding_BFD = layer.apply(tiny_model.random_params(init), pooled_BD, FRAMES)
    assert embedding_BFD.shape == (2, FRAMES, 6)
    rows = embedding_BFD.reshape(-1, 6)
    distances = jnp.abs(rows[:, None] - rows).max(axis=-1) + jnp.eye(len(rows))
    assert distances.min() > 1e-3
