"""cuDNN's fused attention on NVIDIA GPUs, through JAX; it stores no logits.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

import functools

import jax
import jax.numpy as jnp

from videogen_jax.kernels.sizes import Sizes

PLATFORM = "cuda"


def refusal(sizes: Sizes) -> str:
    """Returns why cuDNN cannot compute attention of these sizes; "" if it can.

    When a program is compiled for a GPU on a machine without one, it cannot, since JAX does not
    find cuDNN there.
    """
    if not (widest := _widest_head()):
        return "it needs an NVIDIA GPU of compute capability 8 or more as JAX's default device"
    if sizes.dtype not in (jnp.bfloat16, jnp.float16):
        return f"it takes bfloat16 or float16, got {jnp.dtype(sizes.dtype).name}"
    if sizes.queries % 2 or sizes.keys % 2:  # which its backward pass refuses
        return "it takes even numbers of queries and keys"
    if sizes.width % 8 or sizes.width > widest:
        return f"it takes heads of a multiple of 8 features, {widest} at most, got {sizes.width}"
    return ""


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
