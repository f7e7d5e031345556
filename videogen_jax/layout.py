"""How activations lie on the devices: models name the axes of their arrays, and know no mesh axis.

`activate` says which mesh the names stand for. The mesh is part of what JAX compiles a function
for, so that a function that ran on one device compiles anew within it.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping

import jax
from jax.sharding import Mesh, PartitionSpec

_BATCH = ("data", "fsdp")

# What the axes of an activation are called, and the mesh axes that split them. A clip is
# split by frames where layers see images and by pixels where they see time, so `frames`, `rows` and
# `pixels` share one mesh axis: the first axis of an array that it divides takes it.
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "batch": _BATCH,
    "images": (*_BATCH, "frames"),  # clips × frames folded
    "frames": ("frames",),
    "rows": ("frames",),
    "pixels": ("frames",),  # height × width folded
    ".": (),
}


@contextlib.contextmanager
def activate(mesh: Mesh) -> Iterator[None]:
    """Within the block, what is traced is laid out over `mesh` by the names of `constrain`."""
    with contextlib.nullcontext() if mesh.size == 1 else jax.set_mesh(mesh):
        yield


def constrain(x: jax.Array, names: str) -> jax.Array:
    """`x`, laid out by the names of its axes, e.g. `constrain(x_BFHWC, "batch frames rows . .")`.

    An axis that its mesh axes do not divide is left whole; so is one whose mesh axes an axis before
    it has taken. Without an active mesh, or on one device, this is `x`.

    Raises:
        ValueError: a name is not one of `ACTIVATIONS`, or there is not one for each axis.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    words = names.split()
    if len(words) != x.ndim or not ACTIVATIONS.keys() >= set(words):
        raise ValueError(
            f"cannot lay out an array of shape {x.shape} as {names!r}: expected one of "
            f"{' '.join(ACTIVATIONS)} for each axis"
        )
    spec: list[tuple[str, ...]] = []
    for word, length in zip(words, x.shape, strict=True):
        taken = {axis for axes in spec for axis in axes}
        free = tuple(axis for axis in ACTIVATIONS[word] if axis not in taken)
        spec.append(_dividing(free, length, mesh.shape))
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*(axes or None for axes in spec)))


def clip_tiles(clips: int, parts: int) -> tuple[int, int]:
    """Into how many tiles the active mesh splits clips, and their frames or pixels (`parts`)."""
    shape = jax.sharding.get_abstract_mesh().shape
    counts = zip((_BATCH, ("frames",)), (clips, parts), strict=True)
    outer, inner = (
        math.prod(shape[axis] for axis in _dividing(axes, length, shape)) for axes, length in counts
    )
    return outer, inner


def num_shards() -> int:
    """Over how many devices the active mesh spreads activations."""
    return max(1, jax.sharding.get_abstract_mesh().size)


def _dividing(axes: tuple[str, ...], length: int, shape: Mapping[str, int]) -> tuple[str, ...]:
    """The first of `axes` that are in the mesh and together divide `length`."""
    chosen: tuple[str, ...] = ()
    for axis in axes:
        if shape.get(axis, 1) == 1:
            continue
        if length % math.prod(shape[a] for a in (*chosen, axis)):
            break
        chosen += (axis,)
    return chosen
