"""The attention function of all networks.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

import jax

from videogen_jax.kernels import blocked, cudnn


def attention(
    q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array, *, causal: bool = False
) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`, by the fastest kernel for these arrays.

    With `causal`, a query attends to keys up to its own position. The softmax is float32. The
    platform is the one that the program is compiled for, not the one that it is traced on.
    """
    if not causal and cudnn.usable(q_BTND, k_BSND):
        return jax.lax.platform_dependent(
            q_BTND, k_BSND, v_BSND, cuda=cudnn.attention, default=blocked.attention
        )
    return blocked.attention(q_BTND, k_BSND, v_BSND, causal=causal)
