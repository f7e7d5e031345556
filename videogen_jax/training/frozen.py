"""The frozen networks of a model directory, as the tasks use them: text states and clip latents.

Letters: B clips, F frames, H height, W width, C channels, Z latent channels, T tokens.
"""

from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.autoencoder import Autoencoder, scale_latents
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.text_encoder import TextEncoder, TextStates
from videogen_jax.training.task import Batch, Params


def encode_text(model: ModelConfig, frozen: Params, tokens_BT: jax.Array) -> TextStates:
    """Token ids → text states and pooled text, without gradient."""
    network = TextEncoder(model.text_encoder)
    states: Any = network.apply({"params": frozen["text_encoder"]}, tokens_BT)
    return jax.lax.stop_gradient(states)


def clip_latents(model: ModelConfig, frozen: Params, batch: Batch, resolution: int) -> jax.Array:
    """The batch's scaled latents at `resolution` pixels, `[B, F, H, W, Z]` float32 (§3.5).

    From the latent cache if the batch has them; else its frames are resized (antialiased) and encoded
    one by one. The posterior mean: at the KL weight of Stable Diffusion its spread is below rounding
    of uint8 pixels.
    """
    cached = batch.get(f"latents_{resolution}")
    if cached is not None:
        return cached.astype(jnp.float32)
    return encode_frames(model, frozen, to_float(batch["video"]), resolution)


def encode_frames(
    model: ModelConfig, frozen: Params, video_BFHWC: jax.Array, resolution: int
) -> jax.Array:
    """Pixels in [-1, 1] of any size → scaled latents of the clip at `resolution` pixels."""
    frames = fold_frames(resize(video_BFHWC, resolution))
    network = Autoencoder(model.autoencoder)
    encoded: Any = network.apply({"params": frozen["autoencoder"]}, frames, method="encode")
    return unfold_frames(scale_latents(model.autoencoder, encoded.mean), video_BFHWC.shape[1])
