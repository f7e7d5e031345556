"""Attention on a CPU: two-dimensional products, one head and one block of queries at a time.

XLA computes a product of two matrices on a CPU several times faster than a batch of products, and
a block's weights stay in the cache. The forward pass keeps the output and the logarithm of the sum
of exponentials; the backward pass computes the weights of each block again (Dao et al. 2022,
FlashAttention, section 3.1).

Letters: B batch, N heads, P = B × N pairs of both, T queries, S keys, D features of a head, M
blocks of queries, Q queries of a block.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange

from videogen_jax.kernels.sizes import Sizes

PLATFORM = "cpu"
_BLOCK = 256  # queries; 4 MiB of float32 weights at 4096 keys


def refusal(sizes: Sizes) -> str:
    """Returns why the kernel cannot compute attention of these sizes: it can, so ""."""
    del sizes
    return ""


@jax.custom_vjp
def attention(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`; all products are float32."""
    return _forward(q_BTND, k_BSND, v_BSND)[0]


def _forward(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> tuple[jax.Array, Any]:
    q_PMQD = _blocks(q_BTND)
    k_PSD, v_PSD = _pairs(k_BSND), _pairs(v_BSND)

    def head(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        q_MQD, k_SD, v_SD = arrays

        def block(q_QD: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits_QS = _scaled(q_QD) @ k_SD.T
            largest_Q1 = logits_QS.max(axis=1, keepdims=True)
            weights_QS = jnp.exp(logits_QS - largest_Q1)
            sum_Q1 = weights_QS.sum(axis=1, keepdims=True)
            return (weights_QS @ v_SD) / sum_Q1, largest_Q1 + jnp.log(sum_Q1)

        return jax.lax.map(block, q_MQD)

    out_PMQD, log_sum_PMQ1 = jax.lax.map(head, (q_PMQD, k_PSD, v_PSD))
    out_BTND = _from_blocks(out_PMQD, q_BTND)
    return out_BTND, (q_BTND, k_BSND, v_BSND, out_BTND, log_sum_PMQ1)


def _backward(residuals: Any, gradient_BTND: jax.Array) -> tuple[jax.Array, ...]:
    q_BTND, k_BSND, v_BSND, out_BTND, log_sum_PMQ1 = residuals
    gradient_PMQD = _blocks(gradient_BTND)
    shares_PMQ1 = (gradient_PMQD * _blocks(out_BTND)).sum(axis=-1, keepdims=True)

    def head(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        k_SD, v_SD, *of_blocks = arrays

        def block(sums: tuple[jax.Array, jax.Array], arrays: tuple[jax.Array, ...]) -> Any:
            of_k_SD, of_v_SD = sums
            q_QD, gradient_QD, share_Q1, log_sum_Q1 = arrays
            weights_QS = jnp.exp(_scaled(q_QD) @ k_SD.T - log_sum_Q1)
            of_logits_QS = weights_QS * (gradient_QD @ v_SD.T - share_Q1)
            of_k_SD = of_k_SD + of_logits_QS.T @ _scaled(q_QD)
            of_v_SD = of_v_SD + weights_QS.T @ gradient_QD
            return (of_k_SD, of_v_SD), _scaled(of_logits_QS @ k_SD)

        zeros = jnp.zeros_like(k_SD), jnp.zeros_like(v_SD)
        (of_k_SD, of_v_SD), of_q_MQD = jax.lax.scan(block, zeros, tuple(of_blocks))
        return of_q_MQD, of_k_SD, of_v_SD

    of_q_PMQD, of_k_PSD, of_v_PSD = jax.lax.map(
        head,
        (_pairs(k_BSND), _pairs(v_BSND), _blocks(q_BTND), gradient_PMQD, shares_PMQ1, log_sum_PMQ1),
    )
    return (
        _from_blocks(of_q_PMQD, q_BTND),
        _from_pairs(of_k_PSD, k_BSND),
        _from_pairs(of_v_PSD, v_BSND),
    )


attention.defvjp(_forward, _backward)


def _scaled(x: jax.Array) -> jax.Array:
    return x * (1.0 / math.sqrt(x.shape[-1]))


def _pairs(x_BSND: jax.Array) -> jax.Array:
    return rearrange(x_BSND.astype(jnp.float32), "b s n d -> (b n) s d")


def _from_pairs(x_PSD: jax.Array, like_BSND: jax.Array) -> jax.Array:
    x_BSND = rearrange(x_PSD, "(b n) s d -> b s n d", n=like_BSND.shape[2])
    return x_BSND.astype(like_BSND.dtype)


def _blocks(x_BTND: jax.Array) -> jax.Array:
    """Splits queries into equal blocks, the last one filled with zeros: `[P, M, Q, D]`."""
    queries = x_BTND.shape[1]
    count = math.ceil(queries / _BLOCK)
    size = math.ceil(queries / count)
    x_PTD = jnp.pad(_pairs(x_BTND), ((0, 0), (0, count * size - queries), (0, 0)))
    return rearrange(x_PTD, "p (m q) d -> p m q d", m=count)


def _from_blocks(x_PMQD: jax.Array, like_BTND: jax.Array) -> jax.Array:
    x_PTD = rearrange(x_PMQD, "p m q d -> p (m q) d")
    return _from_pairs(x_PTD[:, : like_BTND.shape[1]], like_BTND)
