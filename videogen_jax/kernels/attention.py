"""The attention function of all networks.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

from collections.abc import Callable

import jax

from videogen_jax.kernels import blocked, cpu, cudnn


def attention(
    q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array, *, causal: bool = False
) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`, by the fastest kernel for these arrays.

    With `causal`, a query attends to keys up to its own position. The softmax is float32. The
    platform is the one that the program is compiled for, not the one that it is traced on.
    """
    kernels = {} if causal else kernels_by_platform(q_BTND, k_BSND)
    if not kernels:
        return blocked.attention(q_BTND, k_BSND, v_BSND, causal=causal)
    return jax.lax.platform_dependent(q_BTND, k_BSND, v_BSND, **kernels, default=blocked.attention)


def kernels_by_platform(
    q_BTND: jax.Array, k_BSND: jax.Array
) -> dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]]:
    """Returns the kernel of each platform that has a faster one than the blocked formula."""
    choices = {"cuda": cudnn, "cpu": cpu}
    return {
        platform: kernel.attention
        for platform, kernel in choices.items()
        if kernel.usable(q_BTND, k_BSND)
    }
