"""The components of a model: what parameters each has, fresh ones, and those of a directory."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.pipeline.denoise import Params


def component_shapes(config: ModelConfig) -> dict[str, Params]:
    """The parameters of every component as `jax.ShapeDtypeStruct`, by the component's name."""
    key = jax.random.key(0)
    return {name: jax.eval_shape(init, key) for name, init in _inits(config).items()}


def init_components(config: ModelConfig, key: jax.Array) -> dict[str, Params]:
    """Fresh parameters of every component, float32, as training starts from without warm start."""
    inits = _inits(config)
    return {
        name: jax.jit(init)(jax.random.fold_in(key, i))
        for i, (name, init) in enumerate(inits.items())
    }


def load_components(directory: Path, config: ModelConfig) -> dict[str, Params]:
    """The components that a model directory has, each checked against the configuration.

    A component may be absent, since not every call needs every one; a call that does says so.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: a file is damaged or does not fit the configuration; names it.
    """
    # Here, so that `import videogen_jax` needs no safetensors.
    from videogen_jax.weights import model_dir

    present = model_dir.list_components(directory)
    params = {}
    for name, shapes in component_shapes(config).items():
        if name in present:
            params[name] = model_dir.load_component(directory, name)
            model_dir.check_against(shapes, params[name], directory / f"{name}.safetensors")
    return params


def _inits(config: ModelConfig) -> dict[str, Callable[[jax.Array], Params]]:
    stages = {
        f"stage_{i}": functools.partial(_init_unet, config, stage)
        for i, stage in enumerate(config.stages, start=1)
    }
    return {
        "text_encoder": functools.partial(_init_text_encoder, config),
        "image_unet": functools.partial(_init_unet, config, config.image),
        "autoencoder": functools.partial(_init_autoencoder, config),
        **stages,
        "flow": functools.partial(_init_flow, config),
        "refiner": functools.partial(_init_unet, config, config.refiner),
        "video_decoder": functools.partial(_init_video_decoder, config),
    }


# What goes through a network at its initialisation only has to have the right number of axes and
# channels: it is as small as the network takes.


def _init_text_encoder(config: ModelConfig, key: jax.Array) -> Params:
    tokens_BT = jnp.zeros((1, config.text_encoder.max_length), jnp.int32)
    return TextEncoder(config.text_encoder).init(key, tokens_BT)["params"]


def _init_unet(config: ModelConfig, denoiser: DenoiserConfig, key: jax.Array) -> Params:
    unet, width = denoiser.unet, config.text_encoder.hidden_size
    size = 2 ** (len(unet.block_out_channels) - 1)
    return SpaceTimeUNet(unet).init(
        key,
        jnp.zeros((1, 1, size, size, unet.in_channels)),
        jnp.zeros(1),
        jnp.zeros((1, 1, width)),
        pooled_BD=jnp.zeros((1, width)),
        fps_B=jnp.zeros(1),
        low_res_noise_B=jnp.zeros(1),
    )["params"]


def _init_autoencoder(config: ModelConfig, key: jax.Array) -> Params:
    size = config.autoencoder.factor
    return Autoencoder(config.autoencoder).init(key, jnp.zeros((1, size, size, 3)))["params"]


def _init_video_decoder(config: ModelConfig, key: jax.Array) -> Params:
    latents_BFHWZ = jnp.zeros((1, 1, 1, 1, config.autoencoder.latent_channels))
    return VideoDecoder(config.autoencoder).init(key, latents_BFHWZ)["params"]


def _init_flow(config: ModelConfig, key: jax.Array) -> Params:
    size = config.flow.total_stride
    frame_BHWZ = jnp.zeros((1, size, size, config.flow.in_channels))
    return LatentFlow(config.flow).init(key, frame_BHWZ, frame_BHWZ, jnp.zeros(1))["params"]
