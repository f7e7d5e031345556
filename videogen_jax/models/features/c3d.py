"""C3D, the action classifier of the inception score for videos (Tran et al. 2015).

The metric's weights are those trained on Sports-1M and fine-tuned on UCF-101, with the mean clip
that they were trained with (Saito et al. 2020, TGANv2). Module names are those of the original.

Letters: B batch, F frames, H height, W width, C channels, K classes.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.layout import constrain

# The convolutions of each level, which ends with a pooling.
_LEVELS = (("1a",), ("2a",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b"))


@dataclass(frozen=True)
class C3DConfig:
    """The sizes of a `C3D`; the defaults are the published ones, for UCF-101.

    Attributes:
        channels: Of each level's convolutions.
        hidden: Width of the two hidden linear layers.
        num_classes: Number of logits K.
        num_frames, size: Frames, and pixels a side, of the clips that the network takes.

    Raises UserError for a size below 1, or that does not fit.
    """

    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    num_classes: int = 101
    num_frames: int = 16
    size: int = 112

    def __post_init__(self) -> None:
        require_positive(self, "channels", "hidden", "num_classes", "num_frames", "size")
        if self.num_frames % 16:
            raise UserError(f"C3DConfig.num_frames is {self.num_frames}, expected a multiple of 16")


C3D_UCF101 = C3DConfig()


class C3D(nn.Module):
    """The classifier, for inference; its mean clip is a parameter, which `c3d_pixels` subtracts."""

    config: C3DConfig = C3D_UCF101
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        """Maps BGR pixels in levels of 255 without the mean clip to logits `[B, K]`, float32."""
        config = self.config
        self.param("mean", nn.initializers.zeros, (config.num_frames, config.size, config.size, 3))
        x = x_BFHWC
        for number, (convs, channels) in enumerate(zip(_LEVELS, config.channels, strict=True)):
            for name in convs:
                conv = nn.Conv(channels, (3, 3, 3), dtype=self.dtype, name=f"conv{name}")
                x = constrain(nn.relu(conv(x)), "batch . . . .")
            x = _max_pool(x, 1 if number == 0 else 2)
        # The linear layers' inputs are ordered as in the public weights: channels first.
        x_BD = x.transpose(0, 4, 1, 2, 3).reshape(len(x), -1)
        for name in ("fc6", "fc7"):
            x_BD = nn.relu(nn.Dense(config.hidden, dtype=self.dtype, name=name)(x_BD))
        logits_BK = nn.Dense(config.num_classes, dtype=self.dtype, name="fc8")(x_BD)
        return logits_BK.astype(jnp.float32)


def _max_pool(x_BFHWC: jax.Array, frames: int) -> jax.Array:
    """Pools 2×2 pixels and `frames` frames; an odd last row or column is pooled by itself.

    The original's sizes are rounded up (Caffe; `cover_all` of Chainer): 7×7 becomes 4×4. PyTorch
    ports that pad both sides instead have the same size, but other windows.
    """
    window = (frames, 2, 2)
    missing = [-length % step for length, step in zip(x_BFHWC.shape[1:4], window, strict=True)]
    padding = ((0, 0), *((0, count) for count in missing), (0, 0))
    return nn.max_pool(jnp.pad(x_BFHWC, padding, constant_values=-jnp.inf), window, window)
