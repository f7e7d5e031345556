"""Encoding of true clips and decoding of latents, to compare with generated clips.

Letters: B clips, F frames, H height, W width, Z latent channels; a trailing 3 are RGB channels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.evaluation.shapes.held_out import BATCH
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.encode import encode_uint8_clips
from videogen_jax.pipeline.videogen import VideoGen


def encode_clips(model: VideoGen, clips: Sequence[np.ndarray]) -> list[jax.Array]:
    """Encodes clips at their own resolution to scaled latents, in batches of eight.

    Args:
        model: the model whose autoencoder encodes them.
        clips: uint8 [F, H, W, 3], H = W, all of one shape.

    Returns:
        float32 [B, F, H, W, Z] for each batch, the posterior's mean.
    """
    resolution = clips[0].shape[1]
    frozen = {"autoencoder": model.params["autoencoder"]}
    return [
        encode_uint8_clips(
            model.config, frozen, jnp.stack(clips[start : start + BATCH]), resolution
        )
        for start in range(0, len(clips), BATCH)
    ]


def decode_clips(
    model: VideoGen, latents: Sequence[jax.Array], decoder: DecoderName
) -> list[np.ndarray]:
    """Decodes latents in batches, as of `encode_clips`, to clips, uint8 [F, H, W, 3]."""
    return [clip for batch in latents for clip in model.decoder(model.params, batch, decoder)]
