"""The attention function of all networks.

Letters: B batch, T queries, S keys, N heads, D features of a head.
"""

from typing import Literal

import jax

from videogen_jax import layout
from videogen_jax.kernels import blocked, choices
from videogen_jax.kernels.choices import Selection
from videogen_jax.kernels.sharded import Shares, per_device


def attention(
    q_BTND: jax.Array,
    k_BSND: jax.Array,
    v_BSND: jax.Array,
    *,
    causal: bool = False,
    kernel: Selection = "auto",
    batch: Literal["images", "batch"] = "images",
) -> jax.Array:
    """Computes softmax attention, `[B, T, N, D]`, by the best kernel for these arrays.

    The platform is the one that the program is compiled for, not the one that it is traced on. The
    softmax is float32. On a mesh, each device computes its share of the batch and of the queries.

    Args:
        q_BTND: queries.
        k_BSND: keys.
        v_BSND: values.
        causal: a query attends to keys up to its own position. This is always the plain formula.
        kernel: the kernel by name; `auto` is the choice of `choices.TABLE`.
        batch: the name of the batch axis in `layout.ACTIVATIONS`: clips × frames or clips × pixels
            are `images`, clips are `batch`.

    Raises:
        UserError: `kernel` cannot compute these arrays, or is not for this platform.
    """
    if causal:
        return blocked.attention(q_BTND, k_BSND, v_BSND, causal=True)
    shares = Shares.of(q_BTND, k_BSND, batch)
    choices.check(kernel, layout.platform(), shares.sizes)
    chosen = choices.kernels_by_platform(shares.sizes, kernel)
    choices.record(shares.sizes, chosen.get(layout.platform(), "blocked"))
    if not chosen:
        return blocked.attention(q_BTND, k_BSND, v_BSND)
    branches = {
        platform: per_device(choices.KERNELS[name].attention, shares)
        for platform, name in chosen.items()
    }
    return jax.lax.platform_dependent(q_BTND, k_BSND, v_BSND, **branches, default=blocked.attention)
