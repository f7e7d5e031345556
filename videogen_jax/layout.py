"""Sharding of activations: models name the axes of their arrays, without knowing the mesh axes.

`activate` sets the mesh that the names refer to. JAX compiles a function per mesh: one that has
already run on one device is compiled again within `activate`.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

_BATCH = ("data", "fsdp")
# Whether what is traced is one entry of a batch, of which the devices along `_BATCH` have others.
_each: contextvars.ContextVar[bool] = contextvars.ContextVar("each", default=False)
# The platform of the mesh that is active, also of one device.
_platform: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)

# The names of an activation's axes, and the mesh axes that split them. A clip is split by frames in
# spatial layers and by pixels in temporal layers, so `frames`, `rows` and `pixels` share one mesh
# axis: it splits the first of these axes whose length it divides.
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "batch": _BATCH,
    "images": (*_BATCH, "frames"),  # clips × frames folded
    "frames": ("frames",),
    "rows": ("frames",),
    "pixels": ("frames",),  # height × width folded, or frames × height × width
    "heads": _BATCH,  # those that a batch too small for them leaves
    ".": (),
}


@contextlib.contextmanager
def activate(mesh: Mesh) -> Iterator[None]:
    """Shards what is traced within the block over `mesh`, by the names passed to `constrain`."""
    token = _platform.set(mesh.devices.flat[0].platform)
    try:
        with contextlib.nullcontext() if mesh.size == 1 else jax.set_mesh(mesh):
            yield
    finally:
        _platform.reset(token)


def platform() -> str:
    """Returns the platform of the active mesh, without one of JAX's default device.

    It has the name by which JAX compiles: `cpu`, `tpu` or `cuda`. AMD's GPUs count as `cuda` too;
    no kernel takes them.
    """
    name = _platform.get() or jax.default_backend()
    return "cuda" if name == "gpu" else name


def over_batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps a function of one entry of a batch over the first axis of its arguments.

    The devices that share the batch compute different entries. Within `function`, they split no
    axis.
    """

    def mapped(*arguments: Any) -> Any:
        sharded = not jax.sharding.get_abstract_mesh().empty
        token = _each.set(True)
        try:
            return jax.vmap(function, spmd_axis_name=_BATCH if sharded else None)(*arguments)
        finally:
            _each.reset(token)

    return mapped


def constrain(x: jax.Array, names: str) -> jax.Array:
    """Shards `x` by the names of its axes, e.g. `constrain(x_BFHWC, "batch frames rows . .")`.

    An axis stays whole if its mesh axes do not divide it, or if an earlier axis already uses them.
    Without an active mesh, or on one device, `x` is returned unchanged.

    Raises:
        ValueError: a name is not in `ACTIVATIONS`, or the number of names is not that of the axes.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(x, split(x.shape, names))


def split(shape: tuple[int, ...], names: str) -> PartitionSpec:
    """Returns how `constrain` splits an array of this shape over the active mesh."""
    return partition(shape, names, _axes())


def partition(shape: tuple[int, ...], names: str, mesh: Mapping[str, int]) -> PartitionSpec:
    """Returns how `constrain` splits an array of a shape over the devices per mesh axis.

    Raises:
        ValueError: as `constrain`.
    """
    words = names.split()
    if len(words) != len(shape) or not ACTIVATIONS.keys() >= set(words):
        raise ValueError(
            f"cannot lay out an array of shape {shape} as {names!r}: expected one of "
            f"{' '.join(ACTIVATIONS)} for each axis"
        )
    spec: list[tuple[str, ...]] = []
    for word, length in zip(words, shape, strict=True):
        taken = {axis for axes in spec for axis in axes}
        free = tuple(axis for axis in ACTIVATIONS[word] if axis not in taken)
        spec.append(_dividing(free, length, mesh))
    return PartitionSpec(*(axes or None for axes in spec))


def clip_tiles(clips: int, parts: int) -> tuple[int, int]:
    """Returns the numbers of tiles into which the active mesh splits `clips` and `parts`.

    Args:
        clips: length of the batch axis.
        parts: frames or pixels of a clip.
    """
    return tiles("batch", clips), tiles("frames", parts)


def tiles(name: str, length: int) -> int:
    """Returns the number of tiles into which the active mesh splits an axis of this name."""
    shape = _axes()
    return math.prod(shape[axis] for axis in _dividing(ACTIVATIONS[name], length, shape))


def batch_devices() -> int:
    """Returns the number of shares into which the active mesh splits a batch, 1 without one."""
    shape = _axes()
    return math.prod(shape.get(axis, 1) for axis in _BATCH)


def num_shards() -> int:
    """Returns the number of devices of the active mesh, 1 without one."""
    return math.prod(_axes().values())


def _axes() -> dict[str, int]:
    """Returns the sizes of the active mesh's axes that split what is traced."""
    shape = jax.sharding.get_abstract_mesh().shape
    return {axis: size for axis, size in shape.items() if not (_each.get() and axis in _BATCH)}


def _dividing(axes: tuple[str, ...], length: int, shape: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the first of `axes` that are in the mesh and whose product divides `length`."""
    chosen: tuple[str, ...] = ()
    for axis in axes:
        if shape.get(axis, 1) == 1:
            continue
        if length % math.prod(shape[a] for a in (*chosen, axis)):
            break
        chosen += (axis,)
    return chosen
