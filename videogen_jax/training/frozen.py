"""The frozen networks of a model directory, as the tasks use them: text states and clip latents.

Letters: B clips, F frames, H height, W width, C channels, Z latent channels, T tokens.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from flax import linen as nn

from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.autoencoder import Autoencoder, scale_latents
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.text_encoder import TextEncoder, TextStates
from videogen_jax.training.task import Batch, Params
from videogen_jax.weights import model_dir


def load_frozen(directory: Path, names: tuple[str, ...]) -> Params:
    """The named components of a model directory, `{name: params}`, float32.

    Raises:
        FileNotFoundError: a component is not there.
    """
    return {name: model_dir.load_component(directory, name) for name in names}


def encode_text(model: ModelConfig, frozen: Params, tokens_BT: jax.Array) -> TextStates:
    """Token ids → text states and pooled text, without gradient."""
    states = TextEncoder(model.text_encoder).apply({"params": frozen["text_encoder"]}, tokens_BT)
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
    network: nn.Module = Autoencoder(model.autoencoder)
    latents = network.apply({"params": frozen["autoencoder"]}, frames, method="encode").mean
    return unfold_frames(scale_latents(model.autoencoder, latents), video_BFHWC.shape[1])
