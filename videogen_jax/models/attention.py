"""Attention layers, and the spatial transformer of Stable Diffusion.

Letters: B batch, T queries, S keys, N images (B clips × F frames), H height, W width, C channels.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.choices import Selection, of_short
from videogen_jax.models.layers import (
    AUTOENCODER_NORM_EPS,
    GroupNorm,
    PointwiseConv,
    constrain_images,
    fold_frames,
    unfold_frames,
)
from videogen_jax.models.once import once

LAYER_NORM_EPS = 1e-5  # torch's default
CROSS_ATTENTION = "attn2"  # diffusers' name


class Attention(nn.Module):
    """Multi-head attention with diffusers' parameter names.

    The UNet's q, k and v have no bias; the autoencoder's have one (`qkv_bias=True`). `kernel` and
    `batch` are those of `kernels.attention`. Keys and values of a context, such as the text, are
    computed once per sample: see `once`.
    """

    heads: int
    qkv_bias: bool = False
    out_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: DTypeLike = jnp.float32
    kernel: Selection = "auto"
    batch: Literal["images", "batch"] = "images"

    @nn.compact
    def __call__(self, x_BTC: jax.Array, context_BSC: jax.Array | None = None) -> jax.Array:
        channels = x_BTC.shape[-1]
        context = x_BTC if context_BSC is None else context_BSC

        def project(name: str, x: jax.Array) -> jax.Array:
            return nn.Dense(channels, use_bias=self.qkv_bias, dtype=self.dtype, name=name)(x)

        def keys_and_values() -> tuple[jax.Array, jax.Array]:
            return project("to_k", context), project("to_v", context)

        q = project("to_q", x_BTC)
        if context_BSC is None:
            k, v = keys_and_values()
        else:
            k, v = once(self, "keys_and_values", keys_and_values)
        q, k, v = (rearrange(x, "b t (n d) -> b t n d", n=self.heads) for x in (q, k, v))
        out = attention(q, k, v, kernel=self.kernel, batch=self.batch)
        out = rearrange(out, "b t n d -> b t (n d)")
        return nn.Dense(channels, kernel_init=self.out_init, dtype=self.dtype, name="to_out_0")(out)


class GEGLU(nn.Module):
    """x · gelu(gate) with the exact gelu (Shazeer 2020), as in Stable Diffusion."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(2 * self.features, dtype=self.dtype, name="proj")(x)
        value, gate = jnp.split(x, 2, axis=-1)
        return value * jax.nn.gelu(gate, approximate=False)


class FeedForward(nn.Module):
    """GEGLU to four times the width and back."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        x = GEGLU(4 * channels, self.dtype, name="net_0")(x)
        return nn.Dense(channels, dtype=self.dtype, name="net_2")(x)


class TransformerBlock(nn.Module):
    """Self-attention within an image, cross-attention to the text, feed-forward."""

    heads: int
    dtype: DTypeLike = jnp.float32
    kernel: Selection = "auto"  # of self-attention, see `UNetConfig.attention`

    @nn.compact
    def __call__(self, x_NTC: jax.Array, text_BSC: jax.Array) -> jax.Array:
        def norm(name: str) -> nn.LayerNorm:
            return nn.LayerNorm(epsilon=LAYER_NORM_EPS, dtype=self.dtype, name=name)

        x = x_NTC
        itself = Attention(self.heads, dtype=self.dtype, kernel=self.kernel, name="attn1")
        x = x + itself(norm("norm1")(x))
        # All frames of a clip share its text. Their queries form one sequence, so the text's keys
        # and values are computed once per clip, not once per frame.
        frames = x.shape[0] // text_BSC.shape[0]
        queries = rearrange(unfold_frames(norm("norm2")(x), frames), "b f t c -> b (f t) c")
        to_text = Attention(
            self.heads,
            dtype=self.dtype,
            kernel=of_short(self.kernel),
            batch="batch",
            name=CROSS_ATTENTION,
        )
        cross = rearrange(to_text(queries, text_BSC), "b (f t) c -> b f t c", f=frames)
        x = x + fold_frames(cross)
        x = x + FeedForward(self.dtype, name="ff")(norm("norm3")(x))
        return constrain_images(x, frames, "pixels .")


class SpatialTransformer(nn.Module):
    """Stable Diffusion's `Transformer2DModel`: norm, project in, transformer blocks, project out.

    `linear_projection` is SD 2's form: dense layers in place of 1×1 convolutions.
    """

    heads: int
    num_layers: int
    groups: int
    linear_projection: bool = False
    dtype: DTypeLike = jnp.float32
    kernel: Selection = "auto"

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, text_BSC: jax.Array) -> jax.Array:
        channels = x_NHWC.shape[-1]
        project = nn.Dense if self.linear_projection else PointwiseConv
        x = GroupNorm(self.groups, AUTOENCODER_NORM_EPS, self.dtype, name="norm")(x_NHWC)
        x = project(channels, dtype=self.dtype, name="proj_in")(x)
        x = rearrange(x, "n h w c -> n (h w) c")
        for i in range(self.num_layers):
            name = f"transformer_blocks_{i}"
            x = TransformerBlock(self.heads, self.dtype, self.kernel, name=name)(x, text_BSC)
        x = x.reshape(x_NHWC.shape)
        x = x_NHWC + project(channels, dtype=self.dtype, name="proj_out")(x)
        return constrain_images(x, x.shape[0] // text_BSC.shape[0])
