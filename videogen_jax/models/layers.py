"""Convolution, norm and embeddings that all networks share.

Letters: N images (= B clips × F frames folded), B batch, F frames, H height, W width, C channels,
D features of an embedding.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.typing import ArrayLike, DTypeLike

from videogen_jax.layout import clip_tiles, constrain

UNET_NORM_EPS = 1e-5  # torch's default, used in the UNet's residual blocks
AUTOENCODER_NORM_EPS = 1e-6  # autoencoder and spatial transformers (CompVis `Normalize`)

# XLA runs convolutions on grids of a few pixels an order of magnitude below the speed of a
# matrix product (CPU: 5 against 60 GFLOP/s at 2×2), so they are written as matrix products.
_IM2COL_MAX_POSITIONS = 9


def fold_frames(x: jax.Array) -> jax.Array:
    """Folds frames into the batch for spatial layers: `b f ...` → `(b f) ...`.

    Where devices share a clip, images are ordered by device, so folding moves no data between
    devices; only `unfold_frames` restores the order. Axis 1 may also be pixels.
    """
    outer, inner = clip_tiles(*x.shape[:2])
    if inner == 1:
        return rearrange(x, "b f ... -> (b f) ...")
    return rearrange(x, "(d b) (g f) ... -> (d g b f) ...", d=outer, g=inner)


def unfold_frames(x: jax.Array, num_frames: int) -> jax.Array:
    """Inverts `fold_frames`: `(b f) ...` → `b f ...`."""
    outer, inner = clip_tiles(x.shape[0] // num_frames, num_frames)
    if inner == 1:
        return rearrange(x, "(b f) ... -> b f ...", f=num_frames)
    pattern = "(d g b f) ... -> (d b) (g f) ..."
    return rearrange(x, pattern, d=outer, g=inner, f=num_frames // inner)


def constrain_images(x: jax.Array, num_frames: int, names: str = "rows . .") -> jax.Array:
    """Constrains the sharding of images `(b f) h w c`: over clips and frames, or over images.

    `names` are those of the axes after the first, see `layout.constrain`.
    """
    if num_frames == 1:
        return constrain(x, f"images {names}")
    return fold_frames(constrain(unfold_frames(x, num_frames), f"batch frames {names}"))


def sinusoidal_embedding(positions: ArrayLike, dim: int, max_period: float = 10_000.0) -> jax.Array:
    """Embeds real positions of any shape as `[..., dim]` float32, cosines first.

    The timestep embedding of DDPM with diffusers' `flip_sin_to_cos=True, freq_shift=0`.
    `dim` must be even.
    """
    half = dim // 2
    frequencies = jnp.exp(-math.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = jnp.asarray(positions, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class Conv(nn.Module):
    """2D convolution over `N H W C` with explicit padding.

    `padding` is ((top, bottom), (left, right)); the default keeps the size of a 3×3 convolution.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        size = self.kernel_size
        shape = (size, size, x_NHWC.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        x = x_NHWC.astype(self.dtype)
        height, width = x.shape[1:3]
        if size == 1:
            return x @ kernel[0, 0] + bias
        if self.stride == 1 and height * width <= _IM2COL_MAX_POSITIONS:
            x = jnp.pad(x, ((0, 0), *self.padding, (0, 0)))
            rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
            patches = [
                x[:, i : i + rows, j : j + columns] for i in range(size) for j in range(size)
            ]
            return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, self.features) + bias
        dimensions = ("NHWC", "HWIO", "NHWC")
        strides = (self.stride, self.stride)
        y = jax.lax.conv_general_dilated(
            x, kernel, strides, self.padding, dimension_numbers=dimensions
        )
        return y + bias


class PointwiseConv(Conv):
    """1×1 convolution, whose kernel has the shape of Stable Diffusion's."""

    kernel_size: int = 1
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))


class GroupNorm(nn.Module):
    """GroupNorm of each image separately, computed in float32. Statistics never cross frames."""

    groups: int
    epsilon: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        channels = x_NHWC.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x = x_NHWC.astype(jnp.float32)
        x = x - self._group_mean(x)
        # Channels first, then groups: reducing the last axis in two halves is several times slower.
        inverse_std = jax.lax.rsqrt(self._group_mean(jnp.square(x)) + self.epsilon)
        return (x * (inverse_std * scale) + bias).astype(self.dtype)

    def _group_mean(self, x_NHWC: jax.Array) -> jax.Array:
        """Returns the mean over pixels and a group's channels, repeated per channel, `N 1 1 C`."""
        channel_mean = x_NHWC.mean(axis=(1, 2))
        grouped = rearrange(channel_mean, "n (g c) -> n g c", g=self.groups)
        mean = jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape)
        return mean.reshape(channel_mean.shape)[:, None, None, :]


class EmbeddingMLP(nn.Module):
    """linear → SiLU → linear, as in Stable Diffusion's time embedding.

    With `zero_init` the last layer starts at zero, so a new condition has no effect at first.
    """

    features: int
    zero_init: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.zeros if self.zero_init else nn.initializers.lecun_normal()
        x = nn.Dense(self.features, dtype=self.dtype, name="linear_1")(x)
        last = nn.Dense(self.features, kernel_init=init, dtype=self.dtype, name="linear_2")
        return last(nn.silu(x))
