"""LPIPS, the learned perceptual distance of two images (Zhang et al., CVPR 2018).

The reference implementation is version 0.1 of github.com/richzhang/PerceptualSimilarity, the
package `lpips`. A classifier of ImageNet (the backbone) gives features at five levels. Their
squared difference at each position, weighted by channel (the heads), is averaged over positions and
summed over levels.

Letters: B batch, H height, W width, C channels.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError
from videogen_jax.layout import constrain
from videogen_jax.models.layers import Conv

# Mean and standard deviation of ImageNet's pixels, in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_NORM_EPS = 1e-10


Network = Literal["vgg16", "alexnet"]


@dataclasses.dataclass(frozen=True)
class _Level:
    """Convolutions with a ReLU each, after a max-pooling with stride 2 unless `pool` is 0."""

    convs: int
    kernel: int
    padding: int
    stride: int = 1
    pool: int = 0


_LEVELS: Mapping[Network, tuple[_Level, ...]] = {
    "vgg16": (
        _Level(2, kernel=3, padding=1),
        _Level(2, kernel=3, padding=1, pool=2),
        *(3 * [_Level(3, kernel=3, padding=1, pool=2)]),
    ),
    "alexnet": (
        _Level(1, kernel=11, padding=2, stride=4),
        _Level(1, kernel=5, padding=2, pool=3),
        _Level(1, kernel=3, padding=1, pool=3),
        _Level(1, kernel=3, padding=1),
        _Level(1, kernel=3, padding=1),
    ),
}
_NETWORKS: Mapping[int, Network] = {
    levels[0].kernel: network for network, levels in _LEVELS.items()
}


@dataclasses.dataclass(frozen=True)
class LPIPSConfig:
    """The backbone of an `LPIPS`; the defaults are those of the public VGG16.

    Raises UserError for a width below 1.
    """

    network: Network = "vgg16"
    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)  # of each level

    def __post_init__(self) -> None:
        if min(self.channels) < 1:
            raise UserError(f"channels is {self.channels}, expected at least 1 at each level")

    @property
    def min_size(self) -> int:
        """The smallest height and width of an image that has a position at every level."""
        size = 1
        for level in reversed(_LEVELS[self.network]):
            size = (size - 1) * level.stride + level.kernel - 2 * level.padding
            size = (size - 1) * 2 + level.pool if level.pool else size
        return size


VGG16 = LPIPSConfig()
ALEXNET = LPIPSConfig("alexnet", (64, 192, 384, 256, 256))


class LPIPS(nn.Module):
    """The backbone and the heads; `lpips` applies them to two images.

    `dtype` is the type of the backbone's computation. The rest is computed in float32.
    """

    config: LPIPSConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, y_BHWC: jax.Array) -> jax.Array:
        """Maps two batches of pixels in [-1, 1], RGB, to their distances `[B]`, float32."""
        backbone = Backbone(self.config, self.dtype, name="backbone")
        # Two calls instead of one on both images: where one has no gradient, its activations are
        # neither kept nor differentiated.
        levels = zip(backbone(x_BHWC), backbone(y_BHWC), strict=True)
        distance_B = jnp.zeros(len(x_BHWC))
        for i, (ours_BHWC, theirs_BHWC) in enumerate(levels):
            difference_BHWC = jnp.square(_unit_length(ours_BHWC) - _unit_length(theirs_BHWC))
            mean_B11C = difference_BHWC.mean(axis=(1, 2), keepdims=True)
            head = nn.Conv(1, (1, 1), use_bias=False, name=f"head_{i}")
            distance_B = distance_B + head(mean_B11C)[:, 0, 0, 0]
        return distance_B


class Backbone(nn.Module):
    """The convolutions of VGG16 or AlexNet, without the classifier behind them."""

    config: LPIPSConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> list[jax.Array]:
        """Maps pixels in [-1, 1] to the features of each level `B h w C`, after their ReLU."""
        x = (x_BHWC - jnp.asarray(_SHIFT)) / jnp.asarray(_SCALE)
        levels, number = [], 0
        for level, features in zip(_LEVELS[self.config.network], self.config.channels, strict=True):
            if level.pool:
                x = nn.max_pool(x, (level.pool, level.pool), (2, 2))
            for _ in range(level.convs):
                side = (level.padding, level.padding)
                x = Conv(
                    features,
                    level.kernel,
                    level.stride,
                    padding=(side, side),
                    dtype=self.dtype,
                    name=f"conv_{number}",
                )(x)
                x = constrain(nn.relu(x), "images . . .")
                number += 1
            levels.append(x)
        return levels


def lpips(
    params: Mapping[str, Any],
    x_BHWC: jax.Array,
    y_BHWC: jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Returns the LPIPS distance of each pair of images; 0 for equal ones.

    LPIPS 0.1 with linear heads, of Zhang et al., "The Unreasonable Effectiveness of Deep Features
    as a Perceptual Metric" (CVPR 2018), as in github.com/richzhang/PerceptualSimilarity. It can be
    differentiated in both images.

    Args:
        params: Parameters of an `LPIPS`, as from `load_lpips`. Their shapes determine the network.
        x_BHWC: Pixels in [-1, 1], `[B, H, W, 3]`, RGB. H and W are at least 16 for VGG16 and 31 for
            AlexNet.
        y_BHWC: The images to compare with, of the same shape.
        dtype: Type of the convolutions' computation.

    Returns:
        Distances `[B]`, float32.

    Raises:
        UserError: The images differ in shape, are not RGB or are too small.
    """
    config = config_of(params)
    smallest = config.min_size
    if x_BHWC.ndim != 4 or x_BHWC.shape[-1] != 3 or min(x_BHWC.shape[1:3]) < smallest:
        raise UserError(
            f"LPIPS by {config.network} needs images [B, H, W, 3] of at least {smallest} pixels a "
            f"side, got shape {x_BHWC.shape}"
        )
    if x_BHWC.shape != y_BHWC.shape:
        raise UserError(f"LPIPS needs images of one shape, got {x_BHWC.shape} and {y_BHWC.shape}")
    return jnp.asarray(LPIPS(config, dtype).apply({"params": params}, x_BHWC, y_BHWC))


def config_of(params: Mapping[str, Any]) -> LPIPSConfig:
    """Returns the configuration of an `LPIPS` with these parameters (arrays or shapes).

    Raises:
        UserError: They are of another network.
    """
    try:
        kernel = params["backbone"]["conv_0"]["kernel"].shape[0]
        c0, c1, c2, c3, c4 = (params[f"head_{i}"]["kernel"].shape[2] for i in range(5))
        return LPIPSConfig(_NETWORKS[kernel], (c0, c1, c2, c3, c4))
    except (KeyError, IndexError) as error:
        raise UserError(f"these are not the parameters of an LPIPS: no {error}") from error


def _unit_length(x_BHWC: jax.Array) -> jax.Array:
    """Scales the features of each position to length 1, those that are all zero to zero."""
    x = x_BHWC.astype(jnp.float32)
    squared = jnp.square(x).sum(axis=-1, keepdims=True)
    # The root is not taken at 0, where every ReLU is closed and its derivative is infinite.
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1))
    return x / (length + _NORM_EPS)
