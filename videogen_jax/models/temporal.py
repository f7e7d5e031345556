"""The temporal layers of video networks (§3.2): convolution, attention, frame embedding.

Each is the identity at initialisation, bit for bit, so a video model starts as the image model
applied to every frame; compiled, up to the order of sums (docs/design.md, section 3).

Letters: N images (= B clips × F frames folded), B clips, F frames, H height, W width, C channels,
P pixel positions (H·W), D features of an embedding.
"""

from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.kernels.choices import Selection, of_short
from videogen_jax.layout import constrain
from videogen_jax.models.attention import LAYER_NORM_EPS, Attention
from videogen_jax.models.layers import (
    EmbeddingMLP,
    fold_frames,
    sinusoidal_embedding,
    unfold_frames,
)


class TemporalConv(nn.Module):
    """x + conv1d(x) over frames, width 3, zero-initialised, at each pixel position separately.

    Frames beyond either end count as zero.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        channels = x_NHWC.shape[-1]
        kernel = self.param("kernel", nn.initializers.zeros, (3, channels, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x = _by_pixels(x_NHWC.astype(self.dtype), num_frames)
        y = x + (conv_of_frames(x, kernel.astype(self.dtype)) + bias.astype(self.dtype))
        return _by_frames(y, x_NHWC.shape[1])


@jax.custom_vjp
def conv_of_frames(x_BFPC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves over frames with a kernel `[3, C, C]`, without copies of the input.

    The gradient is our own: XLA derives a convolution with a window of F × P for the kernel, ten
    times slower on a CPU than the three products here.
    """
    return jax.lax.conv_general_dilated(
        x_BFPC,
        kernel[:, None],
        (1, 1),
        ((1, 1), (0, 0)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _forward(x_BFPC: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    return conv_of_frames(x_BFPC, kernel), (x_BFPC, kernel)


def _backward(residuals: Any, gradient_BFPC: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_BFPC, kernel = residuals
    of_x_BFPC = conv_of_frames(gradient_BFPC, kernel[::-1].swapaxes(1, 2))
    zeros_B1PC = jnp.zeros_like(x_BFPC[:, :1])
    later = jnp.concatenate([gradient_BFPC[:, 1:], zeros_B1PC], axis=1)
    earlier = jnp.concatenate([zeros_B1PC, gradient_BFPC[:, :-1]], axis=1)
    # A tap multiplies a frame with the gradient of the frame after it, of itself, and before it.
    taps = [
        jnp.einsum("bfpc,bfpd->cd", x_BFPC, gradient, preferred_element_type=jnp.float32)
        for gradient in (later, gradient_BFPC, earlier)
    ]
    return of_x_BFPC, jnp.stack(taps).astype(kernel.dtype)


conv_of_frames.defvjp(_forward, _backward)


class TemporalAttention(nn.Module):
    """Attention over the frames of each pixel position, added to the input.

    LayerNorm, sinusoidal frame positions added, self-attention, zero-initialised output projection.
    """

    heads: int
    dtype: DTypeLike = jnp.float32
    kernel: Selection = "auto"  # of attention within an image, see `UNetConfig.attention`

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        _, height, width, channels = x_NHWC.shape
        x = fold_frames(_by_pixels(x_NHWC, num_frames).swapaxes(1, 2))
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPS, dtype=self.dtype, name="norm")(x)
        positions = sinusoidal_embedding(jnp.arange(num_frames), channels)
        attend = Attention(
            self.heads,
            out_init=nn.initializers.zeros,
            dtype=self.dtype,
            kernel=of_short(self.kernel),
            name="attn",
        )
        x = attend(x + positions.astype(self.dtype))
        return x_NHWC + _by_frames(unfold_frames(x, height * width).swapaxes(1, 2), height)


def _by_pixels(x_NHWC: jax.Array, num_frames: int) -> jax.Array:
    """Converts to `B F P C`, sharded over pixels: each device then has all frames of its pixels."""
    x = rearrange(unfold_frames(x_NHWC, num_frames), "b f h w c -> b f (h w) c")
    return constrain(x, "batch . pixels .")


def _by_frames(x_BFPC: jax.Array, height: int) -> jax.Array:
    """Inverts `_by_pixels`, `N H W C`."""
    x = rearrange(constrain(x_BFPC, "batch . pixels ."), "b f (h w) c -> b f h w c", h=height)
    return fold_frames(constrain(x, "batch frames rows . ."))


class FrameEmbedding(nn.Module):
    """Embedding of the frame index, scaled by the text, for the time-embedding path.

    The sinusoidal embedding of the index is scaled by a projection of the pooled text and passed
    through an MLP whose last layer starts at zero. It is not in the paper: without it, a model
    learns motion words far more slowly.
    """

    features: int
    index_features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pooled_BD: jax.Array, num_frames: int) -> jax.Array:
        index_FD = sinusoidal_embedding(jnp.arange(num_frames), self.index_features)
        scale = nn.Dense(self.index_features, dtype=self.dtype, name="text_proj")(pooled_BD)
        index_BFD = repeat(index_FD, "f d -> b f d", b=pooled_BD.shape[0]).astype(self.dtype)
        mlp = EmbeddingMLP(self.features, zero_init=True, dtype=self.dtype, name="mlp")
        return mlp(constrain(index_BFD * (1 + scale[:, None]), "batch frames ."))
