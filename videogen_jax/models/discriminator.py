"""The patch discriminator of Stable Diffusion's autoencoder, for the video decoder (§3.4, §3.5).

Its patches are parts of single frames or, with 3-D convolutions, of windows of a few frames.

Letters: B clips, F frames, N images (= B × F folded), H height, W width, C channels; f, h, w count
patches.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError
from videogen_jax.layout import constrain
from videogen_jax.models.layers import constrain_images, fold_frames, unfold_frames

_BATCH_NORM_EPS = 1e-5  # torch's default
_MAX_WIDENING = 8  # layers are at most this many times `channels` wide


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a `PatchDiscriminator`; the defaults are taming-transformers', a patch of 70 pixels.

    Raises UserError for a size below 1, or for `frames` that are even or more than all layers span.
    """

    channels: int = 64  # of the first layer
    num_layers: int = 3  # that halve the resolution
    # Consecutive frames that a patch spans. Each of the first (frames - 1) / 2 layers sees three.
    frames: int = 1

    def __post_init__(self) -> None:
        if self.channels < 1 or self.num_layers < 1:
            raise UserError(
                f"DiscriminatorConfig needs channels and num_layers of at least 1, got "
                f"{self.channels} and {self.num_layers}"
            )
        most = 1 + 2 * (self.num_layers + 1)
        if self.frames % 2 == 0 or not 1 <= self.frames <= most:
            raise UserError(
                f"DiscriminatorConfig.frames is {self.frames}, expected an odd number from 1 to "
                f"{most} with {self.num_layers} num_layers"
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
    """A classifier of clips' patches as real or generated: one logit a patch, positive for real.

    With one frame a patch, it is `NLayerDiscriminator` of taming-transformers (Esser et al. 2021),
    after Isola et al. 2017 (pix2pix), and classifies each frame separately.

    With more, it sees motion: the first layers are 3-D convolutions over three consecutive frames,
    without padding in time, so each logit belongs to a window of `config.frames` frames. There is
    a logit for every window of the clip.
    """

    config: DiscriminatorConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        """Maps pixels in [-1, 1] to logits `[B, f, h, w]`, float32, with f = F + 1 - `frames`.

        Raises UserError for clips without a patch: of fewer than `config.frames` frames, or below
        `3 * 2 ** num_layers` pixels a side.
        """
        channels, layers = self.config.channels, self.config.num_layers
        self._check(x_BFHWC.shape)
        frames, x = x_BFHWC.shape[1], fold_frames(x_BFHWC)
        for i in range(layers + 1):
            if i < self.config.frames // 2:
                x, frames = _with_neighbours(x, frames), frames - 2
            features = channels * min(2**i, _MAX_WIDENING)
            stride = 2 if i < layers else 1
            x = self._conv(f"conv_{i}", features, stride, use_bias=i == 0)(x)
            if i > 0:
                x = BatchNorm(self.dtype, name=f"norm_{i}")(x)
            x = constrain_images(nn.leaky_relu(x, 0.2), 1)
        logits = self._conv("conv_out", 1, stride=1, use_bias=True)(x)
        return unfold_frames(logits[..., 0], frames).astype(jnp.float32)

    def _check(self, shape: tuple[int, ...]) -> None:
        layers, (_, frames, height, width, _) = self.config.num_layers, shape
        smallest = 3 * 2**layers  # the last two convolutions remove a pixel each
        if min(height, width) < smallest:
            raise UserError(
                f"a discriminator of {layers} layers needs images of at least {smallest} pixels "
                f"a side, got {height} × {width}"
            )
        if frames < self.config.frames:
            raise UserError(
                f"a discriminator of windows of {self.config.frames} frames needs clips of at "
                f"least as many, got {frames}"
            )

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


def _with_neighbours(x_NHWC: jax.Array, num_frames: int) -> jax.Array:
    """Stacks each frame's channels with those of its two neighbours; drops both ends of a clip.

    A 2-D convolution of the result is a 3-D convolution of the clip, `F - 2` frames long.
    """
    x_BFHWC = unfold_frames(x_NHWC, num_frames)
    parts = [x_BFHWC[:, i : num_frames - 2 + i] for i in range(3)]
    return fold_frames(constrain(jnp.concatenate(parts, axis=-1), "batch frames rows . ."))


def _normal_around_one(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape)
