"""The attention function of all networks, and the spatial transformer of Stable Diffusion.

Letters: B batch, T queries, S keys, N heads in attention and images (B clips × F frames) elsewhere,
D features of a head, H height, W width, C channels.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.layout import num_shards
from videogen_jax.models.layers import (
    AUTOENCODER_NORM_EPS,
    GroupNorm,
    PointwiseConv,
    constrain_images,
    fold_frames,
    unfold_frames,
)

LAYER_NORM_EPS = 1e-5  # torch's default

# The largest number of logits that a device stores at a time, over batch and heads: 256 MiB in
# float32.
MAX_LOGITS = 2**26


def attention(
    q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array, *, causal: bool = False
) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`, in memory bounded by `MAX_LOGITS` logits.

    Queries are processed in equal blocks, one after the other; each block is recomputed in the
    backward pass. Logits and softmax are float32. With `causal`, a query attends to keys up to its
    own position.
    """
    batch, queries, heads, dim = q_BTND.shape
    keys = k_BSND.shape[1]
    block = max(1, MAX_LOGITS * num_shards() // (batch * heads * keys))
    if block >= queries:
        return _attend(q_BTND, k_BSND, v_BSND, jnp.arange(queries), causal)
    blocks = math.ceil(queries / block)
    padded = jnp.pad(q_BTND, ((0, 0), (0, blocks * block - queries), (0, 0), (0, 0)))
    # A block takes every `blocks`-th query, so that each device has its share of every block.
    positions = jnp.arange(blocks * block).reshape(block, blocks).T

    @jax.checkpoint
    def one_block(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        q, position = inputs
        return _attend(q, k_BSND, v_BSND, position, causal)

    q_blocks = rearrange(padded, "b (t m) n d -> m b t n d", m=blocks)
    out = jax.lax.map(one_block, (q_blocks, positions))
    return rearrange(out, "m b t n d -> b (t m) n d")[:, :queries]


def _attend(
    q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array, position_T: jax.Array, causal: bool
) -> jax.Array:
    scale = 1.0 / math.sqrt(q_BTND.shape[-1])
    logits = jnp.einsum("btnd,bsnd->bnts", q_BTND, k_BSND, preferred_element_type=jnp.float32)
    logits = logits * scale
    if causal:
        visible = jnp.arange(k_BSND.shape[1]) <= position_T[:, None]
        logits = jnp.where(visible, logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1).astype(v_BSND.dtype)
    return jnp.einsum("bnts,bsnd->btnd", weights, v_BSND)


class Attention(nn.Module):
    """Multi-head attention with diffusers' parameter names.

    The UNet's q, k and v have no bias; the autoencoder's have one (`qkv_bias=True`).
    """

    heads: int
    qkv_bias: bool = False
    out_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BTC: jax.Array, context_BSC: jax.Array | None = None) -> jax.Array:
        channels = x_BTC.shape[-1]
        context = x_BTC if context_BSC is None else context_BSC

        def project(name: str, x: jax.Array) -> jax.Array:
            dense = nn.Dense(channels, use_bias=self.qkv_bias, dtype=self.dtype, name=name)
            return rearrange(dense(x), "b t (n d) -> b t n d", n=self.heads)

        q, k, v = project("to_q", x_BTC), project("to_k", context), project("to_v", context)
        out = rearrange(attention(q, k, v), "b t n d -> b t (n d)")
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

    @nn.compact
    def __call__(self, x_NTC: jax.Array, text_BSC: jax.Array) -> jax.Array:
        def norm(name: str) -> nn.LayerNorm:
            return nn.LayerNorm(epsilon=LAYER_NORM_EPS, dtype=self.dtype, name=name)

        x = x_NTC
        x = x + Attention(self.heads, dtype=self.dtype, name="attn1")(norm("norm1")(x))
        # All frames of a clip share its text. Their queries form one sequence, so the text's keys
        # and values are computed once per clip, not once per frame.
        frames = x.shape[0] // text_BSC.shape[0]
        queries = rearrange(unfold_frames(norm("norm2")(x), frames), "b f t c -> b (f t) c")
        cross = Attention(self.heads, dtype=self.dtype, name="attn2")(queries, text_BSC)
        x = x + fold_frames(rearrange(cross, "b (f t) c -> b f t c", f=frames))
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

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, text_BSC: jax.Array) -> jax.Array:
        channels = x_NHWC.shape[-1]
        project = nn.Dense if self.linear_projection else PointwiseConv
        x = GroupNorm(self.groups, AUTOENCODER_NORM_EPS, self.dtype, name="norm")(x_NHWC)
        x = project(channels, dtype=self.dtype, name="proj_in")(x)
        x = rearrange(x, "n h w c -> n (h w) c")
        for i in range(self.num_layers):
            x = TransformerBlock(self.heads, self.dtype, name=f"transformer_blocks_{i}")(
                x, text_BSC
            )
        x = x.reshape(x_NHWC.shape)
        x = x_NHWC + project(channels, dtype=self.dtype, name="proj_out")(x)
        return constrain_images(x, x.shape[0] // text_BSC.shape[0])
