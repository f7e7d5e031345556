"""Sharding of arrays: the mesh, the rules for parameters, and the batch.

Everything is `jax.jit` with `NamedSharding` on a mesh of automatic axes. Models only use the axis
names of `layout.py`.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from videogen_jax import trees
from videogen_jax.errors import UserError

AXES = ("data", "fsdp", "frames")
_BATCH = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis and rules for sharding parameters.

    One axis may be -1: it takes the remaining devices.

    `rules` override the default for parameters, their average and their optimizer state. Each is a
    pair of a regular expression over parameter paths (full match, the first match wins) and the
    mesh axes that split each axis of the tensor: ". fsdp" splits a matrix's columns, "data+fsdp"
    the first axis over both, "" nothing. On a command line the pairs follow one another:
    `--mesh.rules '.*/attn1/.*kernel' '. fsdp' '.*bias' ''`.
    """

    data: int = -1  # devices with all parameters and a share of the batch each
    fsdp: int = 1  # devices that share the batch and the parameters
    frames: int = 1  # devices that share one clip
    rules: tuple[tuple[str, str], ...] = ()
    min_sharded_bytes: int = 2**20  # gathering a smaller tensor costs more than replicating it


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh with the axes `data`, `fsdp` and `frames` over `devices` (default: all).

    Neighbouring devices share a clip: its frames stay within a host where possible.

    Raises:
        UserError: the product of the axes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [getattr(config, axis) for axis in AXES]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = len(devices) // -math.prod(sizes) if math.prod(sizes) else 0
    if math.prod(sizes) != len(devices) or min(sizes) < 1:
        asked = ", ".join(f"{axis}={getattr(config, axis)}" for axis in AXES)
        raise UserError(
            f"mesh {asked} does not multiply to the {len(devices)} devices (one axis may be -1, "
            "for the remaining ones)"
        )
    grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that puts the same copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that splits the leading axis over `data` and `fsdp`.

    All devices that share a clip have a copy of it.
    """
    return NamedSharding(mesh, PartitionSpec(_BATCH))


# Parameters


def tree_shardings(
    mesh: Mesh, tree: Any, config: MeshConfig = MeshConfig(), split: tuple[str, ...] = ("fsdp",)
) -> Any:
    """Returns a sharding for every array of `tree` (arrays or shapes).

    It is the one of the first matching rule of `config.rules`. By default the largest axis that the
    mesh axes `split` together divide is split; if there is none, their first one alone splits one.
    Tensors under `config.min_sharded_bytes` are replicated.

    Raises:
        UserError: a rule's pattern matches no path, or the rule names an unknown mesh axis or does
            not fit a tensor that it matches; names the rule.
    """
    rules = [(pattern, (pattern, _parse_axes(pattern, axes))) for pattern, axes in config.rules]
    try:
        chosen = trees.match(rules, tree, default=("", None))
    except UserError as error:
        raise UserError(f"mesh.rules: {error}") from error
    leaves, structure = jax.tree.flatten(tree)
    shardings = [
        NamedSharding(
            mesh,
            _default_spec(leaf, mesh, config.min_sharded_bytes, split)
            if axes is None
            else _spec_by_rule(pattern, axes, path, leaf, mesh),
        )
        for path, leaf, (pattern, axes) in zip(
            trees.paths(tree), leaves, structure.flatten_up_to(chosen), strict=True
        )
    ]
    return jax.tree.unflatten(structure, shardings)


def state_shardings(mesh: Mesh, state: Any, params: Any, config: MeshConfig) -> Any:
    """Returns shardings for a tree that contains parameters and copies of them.

    Args:
        mesh: the mesh.
        state: a pytree, such as a train state with its average and optimizer moments.
        params: the parameters alone. A leaf of `state` whose path ends in a parameter's path, and
            which has its shape, takes its sharding; others take the default.
        config: rules over the paths of `params`.

    Raises:
        UserError: as `tree_shardings`.
    """
    placed = dict(
        zip(trees.paths(params), jax.tree.leaves(tree_shardings(mesh, params, config)), strict=True)
    )
    shapes = {path: leaf.shape for path, leaf in zip(placed, jax.tree.leaves(params), strict=True)}

    def place(path: str, leaf: Any) -> NamedSharding:
        ends = [path[match.end() :] for match in re.finditer("^|/", path)]
        for end in ends:  # the longest first
            if end in placed and shapes[end] == leaf.shape:
                return placed[end]
        return NamedSharding(mesh, _default_spec(leaf, mesh, config.min_sharded_bytes))

    leaves = zip(trees.paths(state), jax.tree.leaves(state), strict=True)
    return jax.tree.unflatten(jax.tree.structure(state), [place(*leaf) for leaf in leaves])


def put_tree(tree: Any, shardings: Any) -> Any:
    """Puts host arrays on devices, leaf by leaf; each device receives only its own part.

    Leaves are JAX arrays, which are moved if necessary, or any indexable objects with a `shape`, of
    which each process reads the parts for its own devices. All processes pass the same tree.
    """

    def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
        if isinstance(leaf, jax.Array):
            return jax.device_put(leaf, sharding)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(put, tree, shardings)


def _default_spec(
    leaf: Any, mesh: Mesh, min_bytes: int, split: tuple[str, ...] = ("fsdp",)
) -> PartitionSpec:
    size = math.prod(mesh.shape[axis] for axis in split)
    if size == 1 or math.prod(leaf.shape) * leaf.dtype.itemsize < min_bytes:
        return PartitionSpec()
    divisible = [axis for axis, length in enumerate(leaf.shape) if length % size == 0]
    if not divisible:
        return _default_spec(leaf, mesh, min_bytes, split[:1]) if split[1:] else PartitionSpec()
    largest = max(divisible, key=lambda axis: leaf.shape[axis])
    return PartitionSpec(*(None,) * largest, split if split[1:] else split[0])


def _parse_axes(pattern: str, axes: str) -> tuple[tuple[str, ...], ...]:
    """Parses the axes of a rule: ". data+fsdp" → ((), ("data", "fsdp"))."""
    parsed = tuple(() if word == "." else tuple(word.split("+")) for word in axes.split())
    if unknown := [axis for word in parsed for axis in word if axis not in AXES]:
        raise UserError(
            f"mesh.rules: {pattern!r} has the axis {unknown[0]!r}, expected {', '.join(AXES)} or "
            f"'.' for each axis of the tensor, got {axes!r}"
        )
    return parsed


def _spec_by_rule(
    pattern: str, axes: tuple[tuple[str, ...], ...], path: str, leaf: Any, mesh: Mesh
) -> PartitionSpec:
    sizes = [math.prod(mesh.shape[axis] for axis in names) for names in axes]
    if len(axes) > len(leaf.shape) or any(
        length % size for length, size in zip(leaf.shape, sizes, strict=False)
    ):
        raise UserError(
            f"mesh.rules: {pattern!r} splits the axes of {path} into {sizes}, but its shape is "
            f"{tuple(leaf.shape)}"
        )
    return PartitionSpec(*(names or None for names in axes))


# The batch


def batch_shares(mesh: Mesh) -> int:
    """Returns the number of shares into which a mesh splits a batch."""
    return math.prod(mesh.shape[axis] for axis in _BATCH)


def batch_positions(mesh: Mesh, batch_size: int) -> list[int]:
    """Returns the positions in a batch of `batch_size` examples that this process reads, in order.

    Processes whose devices share clips read the same ones.

    Raises:
        UserError: the batch is not divisible by the devices that share it.
    """
    blocks, count = _batch_blocks(mesh)
    if batch_size % count:
        raise UserError(_indivisible("batch_size", batch_size, count))
    return np.arange(batch_size).reshape(count, -1)[blocks].reshape(-1).tolist()


def put_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts this process's share of the batch, as host arrays, on the devices of the mesh.

    The share is that of `batch_positions`: the whole batch if there is one process.

    Returns:
        arrays of the whole batch, sharded over the mesh.

    Raises:
        UserError: the batch is not divisible by the devices that share it.
    """
    blocks, count = _batch_blocks(mesh)
    sharding = batch_sharding(mesh)

    def put(name: str, array: np.ndarray) -> jax.Array:
        if array.shape[0] % len(blocks):
            total = array.shape[0] * count // len(blocks)
            raise UserError(_indivisible(name, total, count))
        size = array.shape[0] // len(blocks)

        def read(index: Any) -> np.ndarray:
            block = (index[0].start or 0) // size
            start = blocks.index(block) * size
            return array[start : start + size]

        return jax.make_array_from_callback((size * count, *array.shape[1:]), sharding, read)

    return {name: put(name, array) for name, array in batch.items()}


def put_whole_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts a batch that every process has as a whole on the devices of the mesh.

    Where the devices do not divide it, its last entry is repeated: results are to be cut.

    Returns:
        arrays of the whole batch, sharded over the mesh.
    """
    count = math.prod(mesh.shape[axis] for axis in _BATCH)
    sharding = batch_sharding(mesh)

    def put(array: np.ndarray) -> jax.Array:
        missing = -len(array) % count
        whole = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return {name: put(array) for name, array in batch.items()}


def to_host(array: jax.Array) -> np.ndarray:
    """Returns the values of an array. If several processes share it, all of them must call this."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return multihost_utils.process_allgather(array, tiled=True)


def check_frames(mesh: Mesh, num_frames: int) -> None:
    """Raises UserError if a clip's frames are not divisible by the devices that share a clip."""
    if num_frames % mesh.shape["frames"]:
        raise UserError(
            f"clips of {num_frames} frames are not divisible by the {mesh.shape['frames']} devices "
            "that share one (mesh axis frames)"
        )


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Returns a tree of shapes with the shardings of a second tree."""
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes,
        shardings,
    )


def _batch_blocks(mesh: Mesh) -> tuple[list[int], int]:
    """Returns the numbers of the batch's blocks on this process's devices, and their total."""
    count = batch_shares(mesh)
    by_block = mesh.devices.reshape(count, -1)
    here = jax.process_index()
    blocks = [i for i, row in enumerate(by_block) if any(d.process_index == here for d in row)]
    return blocks, count


def _indivisible(name: str, size: int, count: int) -> str:
    return (
        f"batch of {size} ({name}) is not divisible by the {count} devices that share it "
        "(mesh axes data and fsdp)"
    )
