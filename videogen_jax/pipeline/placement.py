"""Parameters on devices: in the type of the computation and sharded, all at once or in turns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax import sharding
from videogen_jax.errors import UserError
from videogen_jax.pipeline.denoise import Params

DTYPES = ("float32", "bfloat16", "float16")
# Less than in training, so that each of 8 devices has an eighth of the paper's bfloat16.
RULES = sharding.MeshConfig(min_sharded_bytes=2**18)


def dtype_name(dtype: DTypeLike) -> str:
    """Returns the name of a type of networks. Raises UserError unless it is one of `DTYPES`."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise UserError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    return name


def parameter_shardings(mesh: Mesh, params: Any) -> Any:
    """Returns the shardings of parameters in sampling, for arrays or shapes.

    Devices along `fsdp` share them. If there are several of these, the devices that share a clip,
    along `frames`, also share them; otherwise each of those has them all.
    """
    split = ("fsdp", "frames") if mesh.shape["fsdp"] > 1 else ("fsdp",)
    return sharding.tree_shardings(mesh, params, RULES, split)


def as_dtype(params: Params, dtype: DTypeLike) -> Params:
    """Casts the floating-point leaves of a tree; leaves that are read when indexed, then."""
    return jax.tree.map(
        lambda leaf: (
            leaf.astype(dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != dtype
            else leaf
        ),
        params,
    )


def place(mesh: Mesh, params: Params, dtype: DTypeLike) -> Params:
    """Puts parameters on the devices of a mesh, in a type.

    Leaves are arrays, or any objects with `shape`, `dtype` and `astype` that are read when indexed,
    such as `StoredTensor`. Each process reads the parts of its own devices, tensor by tensor.
    """
    if jax.process_count() > 1:
        params = _on_host(params)
    params = as_dtype(params, dtype)
    return sharding.put_tree(params, parameter_shardings(mesh, params))


class OffloadedParams(Mapping[str, Params]):
    """Components that stay in the host's memory and are on the devices only when they are used.

    A component is put there when it is first accessed, and stays until `turn` names others.

    Args:
        mesh: the devices.
        params: `{component: parameters}`.
        dtype: type of the parameters, on the host too.

    Attributes:
        host: `{component: parameters}` on the host.
    """

    def __init__(self, mesh: Mesh, params: Mapping[str, Params], dtype: DTypeLike):
        self._mesh, self._dtype = mesh, dtype
        self.host = {name: as_dtype(_on_host(tree), dtype) for name, tree in params.items()}
        self._placed: dict[str, Future[Params]] = {}
        self._mover = ThreadPoolExecutor(1, "offload")  # the host's part of a transfer takes time

    def __getitem__(self, name: str) -> Params:
        if name not in self.host:
            raise KeyError(name)
        self._begin(name)
        return self._placed[name].result()

    def __contains__(self, name: object) -> bool:  # without moving it
        return name in self.host

    def __iter__(self) -> Iterator[str]:
        return iter(self.host)

    def __len__(self) -> int:
        return len(self.host)

    @property
    def on_devices(self) -> list[str]:
        """The names of the components that are on the devices, or on their way there."""
        return sorted(self._placed)

    def turn(self, names: Iterable[str], following: Iterable[str] = ()) -> None:
        """Makes room for some components and begins to move them to the devices.

        Args:
            names: the components that are used now.
            following: those that are used next: they are moved while the others compute.
        """
        names, following = list(names), list(following)
        for name in self._placed.keys() - {*names, *following}:
            del self._placed[name]  # the devices free it once no running program uses it
        for name in (*names, *following):
            self._begin(name)

    def _begin(self, name: str) -> None:
        if name not in self._placed:
            host = self.host[name]
            self._placed[name] = self._mover.submit(place, self._mesh, host, self._dtype)


class Turns:
    """The order in which a call uses components; without offloading it has no effect.

    Args:
        params: the components of a call.
        order: the components of each part of the call, in order.
    """

    def __init__(self, params: Mapping[str, Params], order: Sequence[Sequence[str]]):
        self._params, self._order, self._next = params, order, 0

    def advance(self) -> None:
        """Begins the next part of the call."""
        if isinstance(self._params, OffloadedParams):
            self._params.turn(*self._order[self._next : self._next + 2])
        self._next += 1

    def finish(self) -> None:
        """Frees all components."""
        if isinstance(self._params, OffloadedParams):
            self._params.turn(())


def _on_host(params: Params) -> Params:
    return jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, params)
