"""Conversion of pixels to and from floats, and antialiased resizing.

Letters: any number of leading axes, then H height, W width, C channels.
"""

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.sharding import to_host


def to_float(pixels: jax.Array) -> jax.Array:
    """Converts uint8 0..255 to float32 in [-1, 1]."""
    return jnp.asarray(pixels).astype(jnp.float32) / 127.5 - 1.0


def to_uint8(pixels: jax.Array) -> np.ndarray:
    """Converts float in [-1, 1] (clipped) to uint8 0..255 on the host."""
    scaled = jnp.round((jnp.clip(pixels, -1.0, 1.0) + 1.0) * 127.5)
    return to_host(scaled.astype(jnp.uint8))


def resize(images: jax.Array, size: int | tuple[int, int]) -> jax.Array:
    """Resizes `[..., H, W, C]` to `[..., *size, C]`, bilinear and antialiased (§3.5).

    One number is height and width.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if images.shape[-3:-1] == (height, width):
        return images
    shape = (*images.shape[:-3], height, width, images.shape[-1])
    return jax.image.resize(images, shape, "linear", antialias=True)
