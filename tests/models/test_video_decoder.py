"""The video decoder: the image decoder at initialisation, and frames that see each other later."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from videogen_jax import trees
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.tiny import TINY
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.video_decoder import VideoDecoder

NETWORK_TOLERANCE = 1e-4
CONFIG = TINY.autoencoder
CLIPS, FRAMES = 2, 3
Z_BFHWC = np.random.default_rng(0).standard_normal(
    (CLIPS, FRAMES, 4, 4, CONFIG.latent_channels), np.float32
)


@jax.jit
def decode_video(params, z_BFHWC):
    return VideoDecoder(CONFIG).apply({"params": params}, z_BFHWC)


@jax.jit
def decode_images(params, z_NHWC):
    return Autoencoder(CONFIG).apply({"params": params}, z_NHWC, method="decode")


def init(key):
    return VideoDecoder(CONFIG).init(key, Z_BFHWC)["params"]


def image_shapes(config=CONFIG):
    """Returns the parameter shapes of the autoencoder's decoder."""
    x = jnp.zeros((1, config.factor, config.factor, 3))
    tree = jax.eval_shape(Autoencoder(config).init, tiny_model.key(), x)["params"]
    return {name: tree[name] for name in ("decoder", "post_quant_conv")}


@pytest.fixture(scope="module")
def fresh():
    """A video decoder at its initialisation."""
    return tiny_model.compiled_init(init)


@pytest.fixture(scope="module")
def trained():
    """A video decoder with random parameters, so its temporal layers have an effect."""
    return tiny_model.random_params(init)


def test_starts_as_the_image_decoder_bit_for_bit(fresh):
    leaves = trees.flatten(fresh)
    image = trees.unflatten({name: leaves[name] for name in trees.paths(image_shapes())})
    expected = unfold_frames(decode_images(image, fold_frames(Z_BFHWC)), FRAMES)
    assert expected.shape == (CLIPS, FRAMES, 16, 16, 3) and jnp.abs(expected).max() > 0.1
    np.testing.assert_array_equal(decode_video(fresh, Z_BFHWC), expected)
    alone = decode_images(image, Z_BFHWC[:, 1])
    np.testing.assert_allclose(alone, expected[:, 1], atol=NETWORK_TOLERANCE)


@pytest.mark.parametrize("config", [CONFIG, PAPER.autoencoder], ids=["tiny", "paper"])
def test_its_tree_is_the_image_decoders_and_temporal_layers(config):
    z = jnp.zeros((1, 2, 1, 1, config.latent_channels))
    ours = jax.eval_shape(VideoDecoder(config).init, tiny_model.key(), z)["params"]
    found = trees.differences(image_shapes(config), ours)
    assert not found.missing and not found.misshaped
    assert found.unexpected and all("temporal_" in path for path in found.unexpected)
    leaves = trees.flatten(ours)
    kernels = [path for path, leaf in leaves.items() if leaf.shape[:2] == (3, 3) and leaf.ndim == 4]
    for path in kernels:
        *blocks, name, _ = path.split("/")
        assert "/".join([*blocks, f"temporal_{name}", "kernel"]) in leaves
    attention = [path for path in leaves if "temporal_attentions_0/attn/to_q/kernel" in path]
    assert attention == ["decoder/mid_block/temporal_attentions_0/attn/to_q/kernel"]


def test_a_clips_frames_see_each_other(trained):
    changed = Z_BFHWC.copy()
    changed[0, 1] *= -1.0
    moved = decode_video(trained, changed) != decode_video(trained, Z_BFHWC)
    frames = np.asarray(moved).any(axis=(2, 3, 4))
    np.testing.assert_array_equal(frames, [[True] * FRAMES, [False] * FRAMES])


def test_other_frame_counts_and_the_papers_size_run():
    shapes = jax.eval_shape(init, tiny_model.key())
    for frames in (1, 7):
        z = jnp.zeros((1, frames, 2, 2, CONFIG.latent_channels))
        assert jax.eval_shape(decode_video, shapes, z).shape == (1, frames, 8, 8, 3)
    network = VideoDecoder(PAPER.autoencoder)
    z = jax.ShapeDtypeStruct((1, PAPER.num_frames, 64, 64, 4), jnp.float32)
    video, _ = jax.eval_shape(network.init_with_output, tiny_model.key(), z)
    assert video.shape == (1, 16, 512, 512, 3) and video.dtype == jnp.float32
