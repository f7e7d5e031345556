"""The conditions of a denoiser besides the text (§3.2), for training and sampling.

Letters: B clips, F frames, H height, W width, Z latent channels.
"""

import jax
import jax.numpy as jnp

from videogen_jax.diffusion.process import NoiseTables, add_noise


def reference_video(reference_BHWZ: jax.Array, num_frames: int) -> jax.Array:
    """Puts the reference latent on frame 0 and zeros elsewhere, `[B, F, H, W, Z]`."""
    padding = ((0, 0), (0, num_frames - 1), (0, 0), (0, 0), (0, 0))
    return jnp.pad(reference_BHWZ[:, None], padding)


def upsample(latents_BFHWZ: jax.Array) -> jax.Array:
    """Upsamples a stage's result for the next stage, bilinearly ×2, frame by frame."""
    batch, frames, height, width, channels = latents_BFHWZ.shape
    shape = (batch, frames, 2 * height, 2 * width, channels)
    return jax.image.resize(latents_BFHWZ, shape, "bilinear")


def augment(
    tables: NoiseTables, latents_BFHWZ: jax.Array, levels_B: jax.Array, noise_BFHWZ: jax.Array
) -> jax.Array:
    """Adds noise to the low-res latent (noise augmentation of Ho et al. 2022, cascaded diffusion).

    `levels_B` are timesteps of the forward process. Level 0 leaves the latent unchanged, so a model
    without augmentation equals the paper's.
    """
    noised = add_noise(tables, latents_BFHWZ, noise_BFHWZ, levels_B)
    off = levels_B == 0
    return jnp.where(off[:, None, None, None, None], latents_BFHWZ, noised)


def network_input(
    noisy_BFHWZ: jax.Array,
    reference_BFHWZ: jax.Array | None = None,
    low_res_BFHWZ: jax.Array | None = None,
) -> jax.Array:
    """Concatenates channels in the order `[noisy, reference, low_res]`, without those of None.

    In this order an earlier stage's first convolution is a prefix of a later one's.
    """
    parts = [x for x in (noisy_BFHWZ, reference_BFHWZ, low_res_BFHWZ) if x is not None]
    return jnp.concatenate(parts, axis=-1)
