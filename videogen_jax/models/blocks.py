"""The residual block, downsampler and upsampler that UNet and autoencoder share.

With `temporal`, every 3×3 convolution in them is followed by a temporal convolution (§3.2).

Letters: N images (= B clips × F frames folded), H height, W width, C channels, D features.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.models.layers import Conv, GroupNorm, PointwiseConv, constrain_images
from videogen_jax.models.temporal import TemporalConv


class ResnetBlock(nn.Module):
    """norm → SiLU → conv, twice, around a shortcut; the time embedding is added in between.

    With `temporal`, each 3×3 convolution is followed by a temporal one (§3.2).
    """

    features: int
    groups: int
    epsilon: float
    temporal: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x_NHWC: jax.Array, embedding_ND: jax.Array | None = None, num_frames: int = 1
    ) -> jax.Array:
        def norm(name: str) -> GroupNorm:
            return GroupNorm(self.groups, self.epsilon, self.dtype, name=name)

        h = Conv(self.features, dtype=self.dtype, name="conv1")(nn.silu(norm("norm1")(x_NHWC)))
        h = constrain_images(h, num_frames)
        if self.temporal:
            h = TemporalConv(self.dtype, name="temporal_conv1")(h, num_frames)
        if embedding_ND is not None:
            projection = nn.Dense(self.features, dtype=self.dtype, name="time_emb_proj")
            h = h + projection(nn.silu(embedding_ND))[:, None, None, :]
        h = Conv(self.features, dtype=self.dtype, name="conv2")(nn.silu(norm("norm2")(h)))
        h = constrain_images(h, num_frames)
        if self.temporal:
            h = TemporalConv(self.dtype, name="temporal_conv2")(h, num_frames)
        if x_NHWC.shape[-1] != self.features:
            x_NHWC = PointwiseConv(self.features, dtype=self.dtype, name="conv_shortcut")(x_NHWC)
        return constrain_images(x_NHWC + h, num_frames)


class Downsample(nn.Module):
    """Halves height and width with a strided convolution.

    The UNet pads one pixel on every side, the autoencoder only right and bottom (CompVis
    `Downsample`).
    """

    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    temporal: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int = 1) -> jax.Array:
        channels = x_NHWC.shape[-1]
        conv = Conv(channels, stride=2, padding=self.padding, dtype=self.dtype, name="conv")
        x = constrain_images(conv(x_NHWC), num_frames)
        return TemporalConv(self.dtype, name="temporal_conv")(x, num_frames) if self.temporal else x


class Upsample(nn.Module):
    """Doubles height and width by nearest neighbour, then applies a convolution."""

    temporal: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int = 1) -> jax.Array:
        x = constrain_images(x_NHWC.repeat(2, axis=1).repeat(2, axis=2), num_frames)
        x = constrain_images(Conv(x.shape[-1], dtype=self.dtype, name="conv")(x), num_frames)
        return TemporalConv(self.dtype, name="temporal_conv")(x, num_frames) if self.temporal else x
