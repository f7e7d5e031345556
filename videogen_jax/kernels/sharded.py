"""A kernel on each device of a mesh, for its share of an attention.

The compiler does not know how to split a kernel: without this, every device would get the whole
arrays. Devices share the batch, heads if the batch is too small, and queries; each has all keys of
its queries.
"""

import dataclasses
from collections.abc import Callable
from typing import Self

import jax
from jax.sharding import PartitionSpec

from videogen_jax import layout
from videogen_jax.kernels.sizes import Sizes

Kernel = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Shares:
    """How the devices of the active mesh share an attention."""

    queries: PartitionSpec
    keys: PartitionSpec
    sizes: Sizes  # of a device's share

    @classmethod
    def of(cls, q_BTND: jax.Array, k_BSND: jax.Array, batch: str) -> Self:
        """Splits queries and keys by the name of their batch axis, see `layout.ACTIVATIONS`."""
        queries = layout.split(q_BTND.shape, f"{batch} pixels heads .")
        keys = layout.split(k_BSND.shape, f"{batch} . heads .")
        _, length, _, width = q_BTND.shape
        taken = layout.tiles("pixels", length) if queries[1] else 1
        return cls(queries, keys, Sizes(q_BTND.dtype, length // taken, k_BSND.shape[1], width))


def per_device(kernel: Kernel, shares: Shares) -> Kernel:
    """Returns the kernel for whole arrays, of which each device computes its share."""
    if jax.sharding.get_abstract_mesh().empty:
        return kernel
    specs = (shares.queries, shares.keys, shares.keys)
    return jax.shard_map(kernel, in_specs=specs, out_specs=shares.queries, check_vma=False)
