"""Parameters of every network: initialisation, shapes and counts.

Only this module initialises networks. Parameters do not depend on resolution, frames or batch, so
the inputs of an initialisation have the right number of axes and channels and the smallest sizes
that the network takes. All parameters are float32.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.features.c3d import C3D, C3DConfig
from videogen_jax.models.features.clip import CLIP, CLIPConfig
from videogen_jax.models.features.i3d import I3D, MIN_FRAMES, I3DConfig
from videogen_jax.models.features.lpips import LPIPS, LPIPSConfig
from videogen_jax.models.flow import FlowConfig, LatentFlow
from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.models.video_decoder import VideoDecoder

Params = Any  # a nested dict of arrays


def init_text_encoder(key: jax.Array, config: TextEncoderConfig) -> Params:
    """Initialises the parameters of a `TextEncoder`."""
    return TextEncoder(config).init(key, jnp.zeros((1, 1), jnp.int32))["params"]


def init_unet(key: jax.Array, config: UNetConfig, text_width: int) -> Params:
    """Initialises the parameters of a `SpaceTimeUNet`: the image model, a stage or the refiner.

    Args:
        key: a random key.
        config: the network's sizes.
        text_width: channels of the text states and of the pooled text.
    """
    size = 2 ** (len(config.block_out_channels) - 1)
    return SpaceTimeUNet(config).init(
        key,
        jnp.zeros((1, 1, size, size, config.in_channels)),
        jnp.zeros(1),
        jnp.zeros((1, 1, text_width)),
        pooled_BD=jnp.zeros((1, text_width)),
        fps_B=jnp.zeros(1),
        low_res_noise_B=jnp.zeros(1),
    )["params"]


def init_autoencoder(key: jax.Array, config: AutoencoderConfig) -> Params:
    """Initialises the parameters of an `Autoencoder`."""
    image_BHWC = jnp.zeros((1, config.factor, config.factor, config.in_channels))
    return Autoencoder(config).init(key, image_BHWC)["params"]


def init_video_decoder(key: jax.Array, config: AutoencoderConfig) -> Params:
    """Initialises the parameters of a `VideoDecoder`."""
    latents_BFHWZ = jnp.zeros((1, 1, 1, 1, config.latent_channels))
    return VideoDecoder(config).init(key, latents_BFHWZ)["params"]


def init_flow(key: jax.Array, config: FlowConfig) -> Params:
    """Initialises the parameters of a `LatentFlow`."""
    frame_BHWZ = jnp.zeros((1, config.total_stride, config.total_stride, config.in_channels))
    return LatentFlow(config).init(key, frame_BHWZ, frame_BHWZ, jnp.zeros(1))["params"]


def init_discriminator(key: jax.Array, config: DiscriminatorConfig, resolution: int) -> Params:
    """Initialises the parameters of a `PatchDiscriminator` for clips of `resolution` pixels."""
    clip_BFHWC = jnp.zeros((1, config.frames, resolution, resolution, 3))
    return PatchDiscriminator(config).init(key, clip_BFHWC)["params"]


def init_lpips(key: jax.Array, config: LPIPSConfig) -> Params:
    """Initialises the parameters of an `LPIPS`."""
    image_BHWC = jnp.zeros((1, config.min_size, config.min_size, 3))
    return LPIPS(config).init(key, image_BHWC, image_BHWC)["params"]


def init_i3d(key: jax.Array, config: I3DConfig) -> Params:
    """Initialises the parameters of an `I3D`."""
    return I3D(config).init(key, jnp.zeros((1, MIN_FRAMES, 1, 1, 3)))["params"]


def init_c3d(key: jax.Array, config: C3DConfig) -> Params:
    """Initialises the parameters of a `C3D`, with a mean clip of zeros."""
    clip_BFHWC = jnp.zeros((1, config.num_frames, config.size, config.size, 3))
    return C3D(config).init(key, clip_BFHWC)["params"]


def init_clip(key: jax.Array, config: CLIPConfig) -> Params:
    """Initialises the parameters of a `CLIP`."""
    size = config.vision.image_size
    tokens_BT = jnp.zeros((1, 1), jnp.int32)
    return CLIP(config).init(key, jnp.zeros((1, size, size, 3)), tokens_BT)["params"]


@functools.cache  # tracing takes a second, and the refiner often has the last stage's sizes
def shapes(init: Any, *sizes: Any) -> Params:
    """Returns the `jax.ShapeDtypeStruct`s of `init(key, *sizes)`, for a function of this module."""
    return jax.eval_shape(lambda key: init(key, *sizes), jax.random.key(0))


def count(params: Params) -> int:
    """Counts the parameters of a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
