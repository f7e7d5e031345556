"""Sampling images at real-valued positions: warping by a flow, resizing, padding.

A flow is in pixels of its own grid, `[..., 0]` along the width and `[..., 1]` along the height.

Letters: B batch, H height, W width, C channels, N positions of a flattened grid; `2` is a flow's
(x, y), `1` an axis that broadcasts.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def sample_bilinear(x_BHWC: jax.Array, column_BHW: jax.Array, row_BHW: jax.Array) -> jax.Array:
    """Samples images bilinearly at pixel positions, float32 `[B, H', W']`.

    Position (0, 0) is the centre of the first pixel; positions outside the image take the value
    of the nearest border pixel. Returns `[B, H', W', C]` in the dtype of `x_BHWC`; positions and
    weights stay float32, because bfloat16 cannot distinguish pixels 300 and 301.
    """
    batch, height, width, channels = x_BHWC.shape
    column_0, column_1, column_weight = _neighbours(column_BHW, width)
    row_0, row_1, row_weight = _neighbours(row_BHW, height)
    x_BNC = x_BHWC.reshape(batch, height * width, channels)

    def pixels(row: jax.Array, column: jax.Array) -> jax.Array:
        index_BN1 = (row * width + column).reshape(batch, -1, 1)
        # "clip" keeps the gather in bounds even for a NaN flow; other indices are in bounds anyway.
        values_BNC = jnp.take_along_axis(x_BNC, index_BN1, axis=1, mode="clip")
        return values_BNC.reshape(*row.shape, channels).astype(jnp.float32)

    top = pixels(row_0, column_0) * (1 - column_weight) + pixels(row_0, column_1) * column_weight
    bottom = pixels(row_1, column_0) * (1 - column_weight) + pixels(row_1, column_1) * column_weight
    return (top * (1 - row_weight) + bottom * row_weight).astype(x_BHWC.dtype)


def backward_warp(x_BHWC: jax.Array, flow_BHW2: jax.Array) -> jax.Array:
    """Warps images by a flow: `out[y, x] = x_BHWC[y + flow_y, x + flow_x]`.

    Sampling is bilinear, with the border repeated outside. Equals IFRNet's warp:
    `torch.nn.functional.grid_sample` with `mode="bilinear"`, `padding_mode="border"` and
    `align_corners=True` on the normalised positions.

    Raises ValueError if the flow does not have one pair for each pixel of the image.
    """
    if flow_BHW2.shape != (*x_BHWC.shape[:3], 2):
        raise ValueError(
            f"flow must have the shape {(*x_BHWC.shape[:3], 2)} to warp an image of the shape "
            f"{x_BHWC.shape}, got {flow_BHW2.shape}"
        )
    height, width = x_BHWC.shape[1:3]
    flow_BHW2 = flow_BHW2.astype(jnp.float32)
    column_BHW = jnp.arange(width, dtype=jnp.float32)[None, None, :] + flow_BHW2[..., 0]
    row_BHW = jnp.arange(height, dtype=jnp.float32)[None, :, None] + flow_BHW2[..., 1]
    return sample_bilinear(x_BHWC, column_BHW, row_BHW)


def resize_bilinear(
    x_BHWC: jax.Array, size: Sequence[int], align_corners: bool = False
) -> jax.Array:
    """Resizes images to `size` = (height, width) bilinearly, without antialiasing.

    Equals `torch.nn.functional.interpolate(mode="bilinear")`. By default pixels are squares
    (half-pixel centres); with `align_corners` the centres of the corner pixels stay in place.
    """
    batch, height, width, channels = x_BHWC.shape
    if not align_corners:
        shape = (batch, *size, channels)
        return jax.image.resize(x_BHWC, shape, "bilinear", antialias=False)
    row_H = jnp.linspace(0, height - 1, size[0], dtype=jnp.float32)
    column_W = jnp.linspace(0, width - 1, size[1], dtype=jnp.float32)
    row_BHW = jnp.broadcast_to(row_H[None, :, None], (batch, *size))
    column_BHW = jnp.broadcast_to(column_W[None, None, :], (batch, *size))
    return sample_bilinear(x_BHWC, column_BHW, row_BHW)


def resize_flow(flow_BHW2: jax.Array, size: Sequence[int]) -> jax.Array:
    """Resizes a flow to `size` = (height, width) and rescales its values to pixels of that grid.

    Bilinear with half-pixel centres. Downsampling is antialiased: a latent pixel takes the mean
    motion of its pixels (§3.5). Returns float32.
    """
    batch, height, width, _ = flow_BHW2.shape
    shape = (batch, *size, 2)
    resized_BHW2 = jax.image.resize(flow_BHW2.astype(jnp.float32), shape, "bilinear")
    return resized_BHW2 * jnp.array([size[1] / width, size[0] / height], dtype=jnp.float32)


def pad_to_multiple(x_BHWC: jax.Array, multiple: int) -> jax.Array:
    """Repeats the last row and column until height and width are multiples of `multiple`."""
    height, width = x_BHWC.shape[1:3]
    padding = ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))
    return jnp.pad(x_BHWC, padding, mode="edge")


def _neighbours(position: jax.Array, length: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns a position's two neighbours along an axis, and the second's weight `[..., 1]`."""
    position = jnp.clip(position.astype(jnp.float32), 0, length - 1)
    first = jnp.floor(position)
    first_index = first.astype(jnp.int32)
    second_index = jnp.minimum(first_index + 1, length - 1)
    return first_index, second_index, (position - first)[..., None]
