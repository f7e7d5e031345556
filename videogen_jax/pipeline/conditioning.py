"""What a denoiser is told besides the text (§3.2). Training and sampling share this file.

Letters: B clips, F frames, H height, W width, Z latent channels.
"""

import jax
import jax.numpy as jnp

from videogen_jax.diffusion.process import NoiseTables, add_noise


def reference_video(reference_BHWZ: jax.Array, num_frames: int) -> jax.Array:
    """The reference latent on frame 0, zeros elsewhere, `[B, F, H, W, Z]`."""
    padding = ((0, 0), (0, num_frames - 1), (0, 0), (0, 0), (0, 0))
    return jnp.pad(reference_BHWZ[:, None], padding)


def upsample(latents_BFHWZ: jax.Array) -> jax.Array:
    """Bilinear ×2, frame by frame: a stage's result as the next stage's condition."""
    batch, frames, height, width, channels = latents_BFHWZ.shape
    shape = (batch, frames, 2 * height, 2 * width, channels)
    return jax.image.resize(latents_BFHWZ, shape, "bilinear")


def augment(
    tables: NoiseTables, latents_BFHWZ: jax.Array, levels_B: jax.Array, noise_BFHWZ: jax.Array
) -> jax.Array:
    """Noise augmentation of the low-res latent (Ho et al. 2022, cascaded diffusion).

    `levels_B` are timesteps of the forward process; level 0 leaves the latent as it is, so that a
    model with augmentation off equals the paper's.
    """
    noised = add_noise(tables, latents_BFHWZ, noise_BFHWZ, levels_B)
    off = levels_B == 0
    return jnp.where(off[:, None, None, None, None], latents_BFHWZ, noised)


def network_input(
    noisy_BFHWZ: jax.Array,
    reference_BFHWZ: jax.Array | None = None,
    low_res_BFHWZ: jax.Array | None = None,
) -> jax.Array:
    """Channels in the order `[noisy, reference, low_res]`, leaving out what a stage has not.

    In this order an earlier stage's first convolution is a prefix of a later one's.
    """
    given = [x for x in (noisy_BFHWZ, reference_BFHWZ, low_res_BFHWZ) if x is not None]
    return jnp.concatenate(given, axis=-1)
