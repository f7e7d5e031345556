"""The plain formula of attention over blocks of queries, for any platform and dtype.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange

from videogen_jax.layout import num_shards

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
