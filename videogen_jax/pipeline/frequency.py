"""Combining a warped and a refined latent by frequency (§3.3), and the paper's slerp ablation.

Letters: B batch, H height, W width, C channels.
"""

import jax
import jax.numpy as jnp
from einops import reduce

from videogen_jax.errors import UserError
from videogen_jax.models.warp import pad_to_multiple, resize_bilinear

# Above this cosine, the sine that slerp divides by is below 0.032, and lerp is as good.
_PARALLEL_COSINE = 0.9995


def lowpass(x_BHWC: jax.Array, factor: int = 4) -> jax.Array:
    """Returns the low frequencies: means of `factor`×`factor` blocks, upsampled bilinearly.

    §3.3 refers to ILVR (Choi et al. 2021), which also filters by resizing down and up again; the
    paper does not name its kernels. Pixel centres are at half-pixel positions, so nothing shifts.
    Sizes that `factor` does not divide are padded with the last row and column. Keeps shape and
    dtype.

    Raises UserError for `factor` < 1.
    """
    if factor < 1:
        raise UserError(f"factor must be at least 1, got {factor}")
    height, width = x_BHWC.shape[1:3]
    padded_BHWC = pad_to_multiple(x_BHWC, factor)
    blocks_BHWC = reduce(padded_BHWC, "b (h i) (w j) c -> b h w c", "mean", i=factor, j=factor)
    return resize_bilinear(blocks_BHWC, padded_BHWC.shape[1:3])[:, :height, :width]


def merge_frequencies(
    warped_BHWC: jax.Array, refined_BHWC: jax.Array, factor: int = 4
) -> jax.Array:
    """Combines the warped latent's low and the refined latent's high frequencies (§3.3)."""
    # The filter is linear, so lowpass(w) + (r − lowpass(r)) needs it only once.
    return refined_BHWC + lowpass(warped_BHWC - refined_BHWC, factor)


def slerp(a: jax.Array, b: jax.Array, time_B: jax.Array) -> jax.Array:
    """Interpolates spherically from a (time 0) to b (time 1), the ablation of Fig. 6.

    `a` and `b` are `[B, ...]`, and each sample is one vector of all its values; `time_B` is `[B]`
    or a scalar. Between nearly parallel or opposite vectors, |cosine| > 0.9995, the great circle
    is ill-conditioned, and the result is the linear interpolation. Keeps the dtype.
    """
    axes = tuple(range(1, a.ndim))
    time = jnp.reshape(time_B, (-1, *(1 for _ in axes))).astype(jnp.float32)
    unit_a, unit_b = (_normalized(x.astype(jnp.float32), axes) for x in (a, b))
    cosine = (unit_a * unit_b).sum(axes, keepdims=True)
    parallel = jnp.abs(cosine) > _PARALLEL_COSINE
    # Where the interpolation is linear, any angle will do whose sine is not zero.
    angle = jnp.arccos(jnp.where(parallel, 0.0, cosine))
    weight_a = jnp.where(parallel, 1 - time, jnp.sin((1 - time) * angle) / jnp.sin(angle))
    weight_b = jnp.where(parallel, time, jnp.sin(time * angle) / jnp.sin(angle))
    return (weight_a * a + weight_b * b).astype(a.dtype)


def _normalized(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Scales vectors to length 1; zero vectors stay zero, so they are orthogonal to all others."""
    length = jnp.sqrt(jnp.square(x).sum(axes, keepdims=True))
    return x / jnp.maximum(length, jnp.finfo(x.dtype).tiny)
