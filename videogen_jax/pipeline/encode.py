"""Encoding pixels to latents, frame by frame (§3.5).

Letters: B clips, F frames, H height, W width, C channels.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.autoencoder import Autoencoder, scale_latents
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.pipeline.groups import IMAGE_PIXELS, at_once, in_groups


def encode_posterior(
    model: ModelConfig,
    params: Mapping[str, Any],
    video_BFHWC: jax.Array,
    resolution: int | tuple[int, int],
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Encodes a clip frame by frame, a few frames at a time (`groups.py`).

    Args:
        model: the whole model's configuration.
        params: `{component: parameters}` with `autoencoder`.
        video_BFHWC: pixels in [-1, 1], of any size.
        resolution: pixels per side, or height and width, that frames are resized to (antialiased)
            before encoding.
        dtype: dtype of the encoder's computation.

    Returns:
        mean and standard deviation of the scaled latents, float32 `[B, F, h, w, Z]`.
    """
    return posterior(model, params, resize(video_BFHWC, resolution), dtype)


def posterior(
    model: ModelConfig,
    params: Mapping[str, Any],
    video_BFHWC: jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Does what `encode_posterior` does, at the clip's own size: multiples of the factor."""
    network = Autoencoder(model.autoencoder, dtype)
    frames = fold_frames(video_BFHWC)

    def encode(images_NHWC: jax.Array) -> Any:
        return network.apply({"params": params["autoencoder"]}, images_NHWC, method="encode")

    encoded = in_groups(encode, frames, at_once(IMAGE_PIXELS, *video_BFHWC.shape[2:4]))
    std = jnp.exp(0.5 * encoded.logvar)
    mean, std = (scale_latents(model.autoencoder, x) for x in (encoded.mean, std))
    frames_per_clip = video_BFHWC.shape[1]
    return unfold_frames(mean, frames_per_clip), unfold_frames(std, frames_per_clip)


def encode_frames(
    model: ModelConfig,
    params: Mapping[str, Any],
    video_BFHWC: jax.Array,
    resolution: int | tuple[int, int],
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Returns the mean of `encode_posterior`, for inference; training may draw samples instead."""
    return encode_posterior(model, params, video_BFHWC, resolution, dtype)[0]


@jax.jit(static_argnums=(0, 3))
def encode_uint8_clips(
    model: ModelConfig, params: Mapping[str, Any], video_BFHWC: jax.Array, resolution: int
) -> jax.Array:
    """Returns the scaled latents of uint8 clips at `resolution` pixels; see `encode_frames`."""
    return encode_frames(model, params, to_float(video_BFHWC), resolution)
