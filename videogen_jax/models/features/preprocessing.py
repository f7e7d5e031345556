"""Preprocessing of videos for the networks of metrics, each as its metric's reference does it.

All take uint8 RGB and are jitted functions, which compile once for each size. They compute in
float32 with full precision on every device.

Letters: B batch, F frames, H height, W width; `3` RGB channels, or BGR where said so.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Grid = Literal["tf1", "half_pixel", "align_corners"]
"""Where the pixels of a bilinearly resized image lie in the source.

`tf1`: the first pixel on the first, with the ratio of sizes (TensorFlow 1's default).
`half_pixel`: pixels are squares (TensorFlow 2, torch).
`align_corners`: the first pixel on the first, the last on the last.
"""

I3D_SIZE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@partial(jax.jit, static_argnames=("grid", "size"))
def i3d_pixels(
    videos_BFHW3: jax.Array, grid: Literal["tf1", "half_pixel"] = "tf1", size: int = I3D_SIZE
) -> jax.Array:
    """Resizes whole frames for `I3D` and scales pixels to [-1, 1], as for FVD.

    The original code of FVD resizes with TensorFlow 1's bilinear interpolation (`tf1`), the ports
    to torch with half-pixel centres. Neither crops nor antialiases.

    Args:
        videos_BFHW3: uint8 [B, F, H, W, 3].
        grid: Positions of pixels.
        size: Height and width of the result.

    Returns:
        float32 [B, F, size, size, 3].
    """
    x = resize_frames(videos_BFHW3.astype(jnp.float32), (size, size), grid)
    return x * (2 / 255) - 1


@jax.jit
def c3d_pixels(videos_BFHW3: jax.Array, mean_FHW3: jax.Array) -> jax.Array:
    """Resizes frames for `C3D` with aligned corners and subtracts its mean clip, as TGANv2 does.

    Args:
        videos_BFHW3: uint8 [B, F, H, W, 3], RGB.
        mean_FHW3: Mean clip in levels of 255, float32 [F, size, size, 3], BGR.

    Returns:
        BGR in levels of 255 without the mean, float32 [B, F, size, size, 3].
    """
    x = resize_frames(videos_BFHW3.astype(jnp.float32), mean_FHW3.shape[1:3], "align_corners")
    return x[..., ::-1] - mean_FHW3


@partial(jax.jit, static_argnames="size")
def clip_pixels(images_BHW3: jax.Array, size: int = 224) -> jax.Array:
    """Resizes, crops and normalises images for `CLIP`, as OpenAI's preprocessing does with PIL.

    The short side is resized to `size` by an antialiased bicubic filter, whose result is rounded to
    uint8 after each axis, as in PIL. The centre is cropped.

    Args:
        images_BHW3: uint8 [B, H, W, 3].
        size: Height and width of the result.

    Returns:
        float32 [B, size, size, 3], with CLIP's mean and deviation.
    """
    height, width = images_BHW3.shape[1:3]
    short = min(height, width)
    rows, columns = (size * side // short for side in (height, width))
    x = _as_pil(images_BHW3.astype(jnp.float32), columns, axis=2)
    x = _as_pil(x, rows, axis=1)
    top, left = (round((side - size) / 2) for side in (rows, columns))
    x = x[:, top : top + size, left : left + size]
    return (x / 255 - jnp.asarray(CLIP_MEAN)) / jnp.asarray(CLIP_STD)


def resize_frames(x_BFHW3: jax.Array, size: tuple[int, ...], grid: Grid) -> jax.Array:
    """Resizes frames to `size` = (height, width) bilinearly, without antialiasing; float32."""
    rows = _interpolation(x_BFHW3.shape[2], size[0], grid)
    columns = _interpolation(x_BFHW3.shape[3], size[1], grid)
    einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return einsum("bfhwc,yh,xw->bfyxc", x_BFHW3, rows, columns)


def _interpolation(length: int, new_length: int, grid: Grid) -> np.ndarray:
    """Returns the matrix [new_length, length] that interpolates along one axis."""
    at = np.arange(new_length, dtype=np.float64)
    if grid == "tf1":
        position = at * length / new_length
    elif grid == "half_pixel":
        position = (at + 0.5) * length / new_length - 0.5
    else:
        position = at * (length - 1) / max(new_length - 1, 1)
    position = position.clip(0, length - 1)
    first = np.floor(position).astype(int)
    weight = position - first
    matrix = np.zeros((new_length, length))
    matrix[np.arange(new_length), first] = 1 - weight
    matrix[np.arange(new_length), np.minimum(first + 1, length - 1)] += weight
    return matrix.astype(np.float32)


def _as_pil(x: jax.Array, length: int, axis: int) -> jax.Array:
    """Resizes one axis bicubically and rounds to levels of 255."""
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    precision = jax.lax.Precision.HIGHEST
    x = jax.image.resize(x, shape, "cubic", antialias=True, precision=precision)
    return jnp.floor(x + 0.5).clip(0, 255)
