"""The building blocks of LatentFlow: IFRNet's encoder and decoder (Kong et al., CVPR 2022, §3.1).

Letters: B batch, H height, W width, C channels.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.layout import constrain
from videogen_jax.models.layers import Conv

# torch's default for convolutions, from which IFRNet trains: a third of LeCun's variance. It keeps
# the first flows well below a pixel; those of the coarsest level are multiplied by 8 on the way up.
_KERNEL_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class PReLU(nn.Module):
    """`max(x, 0) + slope · min(x, 0)`, the slope learned for each channel (torch's `PReLU(C)`)."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        init = nn.initializers.constant(0.25)
        slope_C = self.param("negative_slope", init, (x_BHWC.shape[-1],)).astype(self.dtype)
        return jnp.where(x_BHWC >= 0, x_BHWC, slope_C * x_BHWC)


class ConvPReLU(nn.Module):
    """Convolution, padded to keep the size before the stride, then PReLU."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        side = (self.kernel_size // 2, self.kernel_size // 2)
        x_BHWC = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            padding=(side, side),
            kernel_init=_KERNEL_INIT,
            dtype=self.dtype,
            name="conv",
        )(x_BHWC)
        return constrain(PReLU(self.dtype, name="prelu")(x_BHWC), "images . . .")


class ResBlock(nn.Module):
    """IFRNet's residual block: the last `side_channels` channels are convolved twice as often."""

    side_channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        channels = x_BHWC.shape[-1]
        hidden = x_BHWC
        for main, side in (("conv1", "conv2"), ("conv3", "conv4")):
            hidden = ConvPReLU(channels, dtype=self.dtype, name=main)(hidden)
            rest, side_part = jnp.split(hidden, [channels - self.side_channels], axis=-1)
            side_part = ConvPReLU(self.side_channels, dtype=self.dtype, name=side)(side_part)
            hidden = jnp.concatenate([rest, side_part], axis=-1)
        hidden = Conv(channels, kernel_init=_KERNEL_INIT, dtype=self.dtype, name="conv5")(hidden)
        return PReLU(self.dtype, name="prelu")(x_BHWC + hidden)


class PyramidEncoder(nn.Module):
    """Encoder of a frame: features as one array for each level, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    stem_kernel: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> tuple[jax.Array, ...]:
        pyramid = []
        x_BHWC = x_BHWC.astype(self.dtype)
        levels = zip(self.channels, self.strides, strict=True)
        for level, (channels, stride) in enumerate(levels, start=1):
            kernel = self.stem_kernel if level == 1 else 3
            name = f"pyramid{level}"
            x_BHWC = ConvPReLU(channels, kernel, stride, self.dtype, name=f"{name}_0")(x_BHWC)
            x_BHWC = ConvPReLU(channels, dtype=self.dtype, name=f"{name}_1")(x_BHWC)
            pyramid.append(x_BHWC)
        return tuple(pyramid)


class Decoder(nn.Module):
    """One level of refinement: `features` channels at the resolution of the next finer level."""

    width: int
    features: int
    side_channels: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        x_BHWC = ConvPReLU(self.width, dtype=self.dtype, name="conv_in")(x_BHWC)
        x_BHWC = ResBlock(self.side_channels, self.dtype, name="res_block")(x_BHWC)
        if self.stride == 1:
            conv_out = Conv(
                self.features, kernel_init=_KERNEL_INIT, dtype=self.dtype, name="conv_out"
            )
        else:
            conv_out = nn.ConvTranspose(
                self.features,
                kernel_size=(4, 4),
                strides=(2, 2),
                padding=((2, 2), (2, 2)),  # torch's padding=1, counted on the dilated input
                transpose_kernel=True,  # torch's layout, [h, w, out, in]
                kernel_init=_KERNEL_INIT,
                dtype=self.dtype,
                name="conv_out",
            )
        return conv_out(x_BHWC)
