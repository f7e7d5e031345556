"""cuDNN's fused attention on NVIDIA GPUs, through JAX; it stores no logits.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

import functools

import jax
import jax.numpy as jnp

# cuDNN was faster than the blocked formula from this number of keys on, forward and backward, and
# not faster for shorter sequences: docs/accelerator.md.
MIN_KEYS = 512


def usable(q_BTND: jax.Array, k_BSND: jax.Array) -> bool:
    """Whether JAX's default device is a GPU on which cuDNN takes arrays of this dtype and width.

    When a program is compiled for a GPU on a machine without one, this is False, since JAX cannot
    find cuDNN there.
    """
    (_, queries, _, width), keys = q_BTND.shape, k_BSND.shape[1]
    return (
        q_BTND.dtype in (jnp.bfloat16, jnp.float16)
        and keys >= MIN_KEYS
        and queries % 2 == keys % 2 == 0  # the backward pass refuses odd lengths
        and width % 8 == 0
        and width <= _widest_head()
    )


@functools.cache
def _widest_head() -> int:
    """The most features of a head on this machine's GPU; 0 without one that has the kernel."""
    if jax.default_backend() != "gpu":
        return 0
    capability = getattr(jax.local_devices()[0], "compute_capability", None)  # None on AMD's GPUs
    major = int(str(capability).split(".")[0]) if capability else 0
    return 256 if major >= 9 else 128 if major >= 8 else 0


def attention(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`."""
    return jax.nn.dot_product_attention(q_BTND, k_BSND, v_BSND, implementation="cudnn")
