"""Splash attention on TPUs, JAX's Pallas kernel; it stores no logits.

The kernel wants heads of a multiple of 128 features and sequences of whole blocks, so all of them
are filled up with zeros. Segments hide the keys that are added.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange

from videogen_jax.kernels.sizes import Sizes

PLATFORM = "tpu"
_LANES = 128  # of a TPU's vector registers: the least block, and the unit of a head's width
# Blocks of queries and keys, larger ones first: a larger block reads keys and values less often.
# Float32 logits of 512 × 512 are 1 MiB of a core's vector memory.
_BLOCKS = (512, 256, 128)
# Of `jax_default_matmul_precision`, those in which Pallas compiles products of bfloat16. As these
# are exact, the others would only be slower.
_PRECISIONS = (None, "default", "fastest", "bfloat16")
_WIDEST = 512  # features of a head; the autoencoder's single head is as wide


def refusal(sizes: Sizes) -> str:
    """Returns why the kernel cannot compute attention of these sizes; "" if it can."""
    if sizes.dtype not in (jnp.bfloat16, jnp.float32):
        return f"it takes bfloat16 or float32, got {jnp.dtype(sizes.dtype).name}"
    config: Any = jax.config  # Any: its options are registered at run time
    precision = config.jax_default_matmul_precision
    if sizes.dtype == jnp.bfloat16 and precision not in _PRECISIONS:
        return f"it takes bfloat16 in JAX's default precision of products, got {precision!r}"
    if sizes.width > _WIDEST:
        return f"it takes heads of {_WIDEST} features at most, got {sizes.width}"
    return ""


def attention(
    q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array, *, interpret: bool = False
) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`, of float32 logits.

    Args:
        q_BTND: queries.
        k_BSND: keys.
        v_BSND: values.
        interpret: computes the kernel's steps on any platform, slowly, for tests.
    """
    # Pallas takes a second to import, and no other platform needs it.
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    (_, queries, heads, width), keys = q_BTND.shape, k_BSND.shape[1]
    block_T, block_S = block_of(queries), block_of(keys)
    q_BNTD = _filled(q_BTND * (1.0 / math.sqrt(width)), block_T)
    k_BNSD, v_BNSD = _filled(k_BSND, block_S), _filled(v_BSND, block_S)
    filled_T, filled_S = q_BNTD.shape[2], k_BNSD.shape[2]
    kernel = splash.make_splash_mha(
        mask=splash.MultiHeadMask([splash.FullMask((filled_T, filled_S))] * heads),
        block_sizes=splash.BlockSizes(
            block_q=block_T,
            block_kv=block_S,
            block_q_dkv=block_T,
            block_kv_dkv=block_S,
            block_q_dq=block_T,
            block_kv_dq=block_S,
        ),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    segments = None
    if filled_S > keys:
        given_S = (jnp.arange(filled_S) < keys).astype(jnp.int32)
        segments = splash.SegmentIds(q=jnp.ones(filled_T, jnp.int32), kv=given_S)
    out_BNTD: Any = jax.vmap(kernel, in_axes=(0, 0, 0, None))(q_BNTD, k_BNSD, v_BNSD, segments)
    return rearrange(out_BNTD[:, :, :queries, :width], "b n t d -> b t n d")


def block_of(length: int) -> int:
    """Returns the block that adds the fewest positions to a sequence; of equal ones the largest."""
    return min(_BLOCKS, key=lambda block: math.ceil(length / block) * block)


def _filled(x_BTND: jax.Array, block: int) -> jax.Array:
    """Fills up a sequence to whole blocks and a head to whole lanes: `[B, N, T, D]`."""
    _, length, _, width = x_BTND.shape
    after_T, after_D = -length % block, -width % _LANES
    return jnp.pad(x_BTND.swapaxes(1, 2), ((0, 0), (0, 0), (0, after_T), (0, after_D)))
