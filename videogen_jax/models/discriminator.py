"""The patch discriminator of Stable Diffusion's autoencoder, for the video decoder (§3.4, §3.5).

Letters: N images (= B clips × F frames folded), H height, W width, C channels; h, w are patches.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError
from videogen_jax.models.layers import constrain_images

_BATCH_NORM_EPS = 1e-5  # torch's default
_MAX_WIDENING = 8  # layers are at most this many times `channels` wide


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a `PatchDiscriminator`; the defaults are taming-transformers', a patch of 70 pixels.

    Raises UserError for a size below 1.
    """

    channels: int = 64  # of the first layer
    num_layers: int = 3  # that halve the resolution

    def __post_init__(self) -> None:
        if self.channels < 1 or self.num_layers < 1:
            raise UserError(
                f"DiscriminatorConfig needs channels and num_layers of at least 1, got "
                f"{self.channels} and {self.num_layers}"
            )


class BatchNorm(nn.Module):
    """Normalisation by the mean and variance of the current batch, computed in float32.

    It has no running averages, because a discriminator is only used in training.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        channels = (x_NHWC.shape[-1],)
        scale = self.param("scale", _normal_around_one, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        x = x_NHWC.astype(jnp.float32)
        x = x - x.mean(axis=(0, 1, 2))
        x = x * jax.lax.rsqrt(jnp.square(x).mean(axis=(0, 1, 2)) + _BATCH_NORM_EPS)
        return (x * scale + bias).astype(self.dtype)


class PatchDiscriminator(nn.Module):
    """A classifier of image patches as real or generated: one logit a patch, positive for real.

    `NLayerDiscriminator` of taming-transformers (Esser et al. 2021), after Isola et al. 2017
    (pix2pix). It classifies each frame separately.
    """

    config: DiscriminatorConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        """Maps pixels in [-1, 1] to logits `[N, h, w]`, float32.

        Raises UserError for images below `2 ** (num_layers + 1)` pixels a side: they have no patch.
        """
        channels, layers = self.config.channels, self.config.num_layers
        smallest = 2 ** (layers + 1)
        if min(x_NHWC.shape[1:3]) < smallest:
            raise UserError(
                f"a discriminator of {layers} layers needs images of at least {smallest} pixels "
                f"a side, got {x_NHWC.shape[1]} × {x_NHWC.shape[2]}"
            )
        x = _leaky(self._conv("conv_0", channels, stride=2, use_bias=True)(x_NHWC))
        for i in range(1, layers + 1):
            features = channels * min(2**i, _MAX_WIDENING)
            conv = self._conv(f"conv_{i}", features, stride=2 if i < layers else 1, use_bias=False)
            x = constrain_images(_leaky(BatchNorm(self.dtype, name=f"norm_{i}")(conv(x))), 1)
        logits = self._conv("conv_out", 1, stride=1, use_bias=True)(x)
        return logits[..., 0].astype(jnp.float32)

    def _conv(self, name: str, features: int, stride: int, use_bias: bool) -> nn.Conv:
        return nn.Conv(
            features,
            kernel_size=(4, 4),
            strides=stride,
            padding=1,
            use_bias=use_bias,
            kernel_init=nn.initializers.normal(0.02),
            dtype=self.dtype,
            name=name,
        )


def _normal_around_one(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape)


def _leaky(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, 0.2)
