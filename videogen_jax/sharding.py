"""Where arrays live: the mesh, the FSDP default for parameters, the batch over data axes.

Everything is `jax.jit` with `NamedSharding` on a mesh of automatic axes; models know nothing of it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Below this size a tensor is replicated: gathering it costs more than holding it.
MIN_SHARDED_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; one of them may be -1, which takes what is left."""

    data: int = -1  # each device holds all parameters and a share of the batch
    fsdp: int = 1  # devices share the batch and the parameters


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh with axes `data` and `fsdp` over `devices` (default: all of them).

    Raises:
        ValueError: if the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = len(devices) // -math.prod(sizes)
    if math.prod(sizes) != len(devices) or min(sizes) < 1:
        raise ValueError(
            f"mesh data={config.data}, fsdp={config.fsdp} does not multiply to the "
            f"{len(devices)} devices there are (one axis may be -1: what is left)"
        )
    axis_types = (AxisType.Auto, AxisType.Auto)
    return Mesh(np.asarray(devices).reshape(sizes), ("data", "fsdp"), axis_types=axis_types)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis split over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def tree_shardings(mesh: Mesh, tree: Any) -> Any:
    """The FSDP default for every array of `tree` (arrays or shapes): its largest axis that the
    `fsdp` axis divides is split; tensors under `MIN_SHARDED_BYTES` are replicated."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _fsdp_spec(leaf, mesh)), tree)


def _fsdp_spec(leaf: jax.ShapeDtypeStruct, mesh: Mesh) -> PartitionSpec:
    size = mesh.shape["fsdp"]
    if size == 1 or math.prod(leaf.shape) * leaf.dtype.itemsize < MIN_SHARDED_BYTES:
        return PartitionSpec()
    divisible = [axis for axis, length in enumerate(leaf.shape) if length % size == 0]
    if not divisible:
        return PartitionSpec()
    largest = max(divisible, key=lambda axis: leaf.shape[axis])
    return PartitionSpec(*(None,) * largest, "fsdp")


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Host arrays of this process's share of the batch → arrays sharded over the mesh.

    Raises:
        ValueError: if the devices do not divide the batch.
    """
    sharding = batch_sharding(mesh)

    def put(name: str, array: np.ndarray) -> jax.Array:
        if array.shape[0] * jax.process_count() % mesh.size:
            raise ValueError(
                f"batch of {array.shape[0] * jax.process_count()} ({name}) is not divisible by "
                f"the {mesh.size} devices of the mesh"
            )
        return jax.make_array_from_process_local_data(sharding, array)

    return {name: put(name, array) for name, array in batch.items()}
