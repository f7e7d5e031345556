"""Every network of a model as a plain function, with inputs of its real sizes.

Axes as in `models/`: B clips, F frames, H height, W width, C channels, T tokens, D text channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.video_decoder import VideoDecoder


class Network(NamedTuple):
    """One network, to be called as `apply(params, *inputs)`."""

    component: str  # name in a model directory
    apply: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]  # float32 or int32


def text_encoder(model: ModelConfig, dtype: DTypeLike, batch: int = 1) -> Network:
    config = model.text_encoder
    module: Any = TextEncoder(config, dtype)
    tokens_BT = np.random.default_rng(0).integers(
        0, config.vocab_size, (batch, config.max_length), np.int32
    )
    tokens_BT[:, -1] = config.eos_token_id
    return Network("text_encoder", lambda p, x: module.apply({"params": p}, x), (tokens_BT,))


def unet(
    component: str, model: ModelConfig, part: DenoiserConfig, dtype: DTypeLike, *,
    batch: int = 1, frames: int | None = None, size: int | None = None,
) -> Network:  # fmt: skip
    """Returns the image model, a stage or the refiner; images are clips of one frame."""
    module: Any = SpaceTimeUNet(part.unet, dtype)
    size = size or model.latent_size(part.resolution)
    frames = frames or (model.num_frames if part.unet.temporal else 1)
    width, rng = model.text_encoder.hidden_size, np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    def apply(params: Any, x: Any, timesteps: Any, text: Any, pooled: Any, fps: Any) -> Any:
        level = jnp.zeros(fps.shape, jnp.int32)
        return module.apply(
            {"params": params}, x, timesteps, text,
            pooled_BD=pooled, fps_B=fps, low_res_noise_B=level,
        )  # fmt: skip

    inputs = (
        normal(batch, frames, size, size, part.unet.in_channels),
        np.linspace(50, 950, batch).astype(np.float32),
        normal(batch, model.text_encoder.max_length, width),
        normal(batch, width),
        np.full(batch, model.fps, np.float32),
    )
    return Network(component, apply, inputs)


def autoencoder(
    model: ModelConfig, dtype: DTypeLike, method: str, *, batch: int = 1, size: int | None = None
) -> Network:
    """Returns the encoder (to the posterior's mean) or the decoder; `size` is that of the latents.

    `method` is "encode" or "decode".
    """
    module: Any = Autoencoder(model.autoencoder, dtype)
    size = size or model.latent_size(model.image.resolution)
    rng, config = np.random.default_rng(2), model.autoencoder

    def apply(params: Any, x: Any) -> Any:
        result = module.apply({"params": params}, x, method=method)
        return result.mean if method == "encode" else result

    if method == "encode":
        pixels = size * config.factor
        return Network(
            "autoencoder", apply, (rng.uniform(-1, 1, (batch, pixels, pixels, 3)).astype("f4"),)
        )
    shape = (batch, size, size, config.latent_channels)
    return Network("autoencoder", apply, (rng.standard_normal(shape, np.float32),))


def video_decoder(
    model: ModelConfig, dtype: DTypeLike, *, frames: int | None = None, size: int | None = None
) -> Network:
    module: Any = VideoDecoder(model.autoencoder, dtype)
    size = size or model.latent_size(model.stages[-1].resolution)
    shape = (1, frames or model.num_frames, size, size, model.autoencoder.latent_channels)
    latents = np.random.default_rng(3).standard_normal(shape, np.float32)
    return Network("video_decoder", lambda p, x: module.apply({"params": p}, x), (latents,))


def flow(model: ModelConfig, dtype: DTypeLike, *, size: int | None = None) -> Network:
    module: Any = LatentFlow(model.flow, dtype)
    size = size or model.latent_size(model.refiner.resolution)
    shape = (1, size, size, model.flow.in_channels)
    rng = np.random.default_rng(4)
    frames = (rng.standard_normal(shape, np.float32) for _ in range(2))

    def apply(params: Any, a: Any, b: Any, time: Any) -> Any:
        return module.apply({"params": params}, a, b, time).merged_BHWC

    return Network("flow", apply, (*frames, np.full(1, 0.5, np.float32)))


def names(model: ModelConfig) -> list[str]:
    """Lists the names for `named`: every network of a model, encoder and decoder separately."""
    stages = [f"stage_{i}" for i in range(1, len(model.stages) + 1)]
    return [
        "text_encoder", "image_unet", "encoder", "decoder", *stages, "flow", "refiner",
        "video_decoder",
    ]  # fmt: skip


def named(name: str, model: ModelConfig, dtype: DTypeLike) -> Network:
    """Returns the network of a name of `names`, with an input of one clip or image."""
    match name:
        case "text_encoder":
            return text_encoder(model, dtype)
        case "encoder" | "decoder":
            return autoencoder(model, dtype, {"encoder": "encode", "decoder": "decode"}[name])
        case "flow":
            return flow(model, dtype)
        case "video_decoder":
            return video_decoder(model, dtype)
        case "image_unet":
            return unet(name, model, model.image, dtype)
        case "refiner":
            return unet(name, model, model.refiner, dtype, frames=model.num_frames - 1)
        case _:
            return unet(name, model, model.stages[int(name.removeprefix("stage_")) - 1], dtype)
