"""The parameters of Stable Diffusion's networks by name and shape, which nothing has to be run for."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.trees import Tree
from videogen_jax.weights.stable_diffusion.sources import Component, StableDiffusionConfigs


def parameter_shapes(component: Component, configs: StableDiffusionConfigs) -> Tree:
    """The parameters of one of the networks, as nested dict of `jax.ShapeDtypeStruct`."""
    if component == "text_encoder":
        return _text_encoder_shapes(configs.text_encoder)
    if component == "image_unet":
        return _unet_shapes(configs.unet)
    return _autoencoder_shapes(configs.autoencoder)


@cache
def _text_encoder_shapes(config: TextEncoderConfig) -> Tree:
    return _shapes(TextEncoder(config).init, jax.ShapeDtypeStruct((1, 1), jnp.int32))


@cache
def _unet_shapes(config: UNetConfig) -> Tree:
    size = 2 ** (len(config.block_out_channels) - 1)
    x_BFHWC = jax.ShapeDtypeStruct((1, 1, size, size, config.in_channels), jnp.float32)
    timesteps_B = jax.ShapeDtypeStruct((1,), jnp.float32)
    text_BTD = jax.ShapeDtypeStruct((1, 1, config.cross_attention_dim), jnp.float32)
    return _shapes(SpaceTimeUNet(config).init, x_BFHWC, timesteps_B, text_BTD)


@cache
def _autoencoder_shapes(config: AutoencoderConfig) -> Tree:
    shape = (1, config.factor, config.factor, config.in_channels)
    return _shapes(Autoencoder(config).init, jax.ShapeDtypeStruct(shape, jnp.float32))


def _shapes(init: Callable[..., Any], *inputs: Any) -> Tree:
    return jax.eval_shape(init, jax.random.key(0), *inputs)["params"]
