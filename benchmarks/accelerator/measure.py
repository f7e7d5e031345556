"""Functions shared by all parts: timing, memory, random arrays and differences."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.training.planning.plan import peak_bytes
from videogen_jax.training.telemetry.flops import count_flops
from videogen_jax.training.telemetry.throughput import peak_memory

Call = Callable[[], Any]  # returns arrays without waiting for them to be computed
_POOL = 2**22


def median_seconds(call: Call, *, groups: int = 5, group_seconds: float = 0.05) -> float:
    """Returns the seconds of one call: the median over groups of calls that are queued together.

    The first two calls, which may compile and allocate, are not counted.
    """
    return alternate({"": call}, groups=groups, group_seconds=group_seconds)[""][0]


def alternate(
    calls: Mapping[str, Call], *, groups: int = 5, group_seconds: float = 0.05
) -> dict[str, list[float]]:
    """Times several calls alternately (A B A B …), under the same conditions.

    Returns:
        For each name, the seconds of one call: first the median, then the value of every group.
    """
    counts = {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        began = time.perf_counter()
        jax.block_until_ready(call())
        counts[name] = max(1, math.ceil(group_seconds / (time.perf_counter() - began)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(groups):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(counts[name]):
                out = call()
            jax.block_until_ready(out)
            times[name].append((time.perf_counter() - began) / counts[name])
    return {name: [statistics.median(each), *each] for name, each in times.items()}


class Compiled(NamedTuple):
    """A program compiled for this device."""

    run: Callable[..., Any]
    flops: float
    seconds: float  # time to compile
    peak: float  # bytes of arguments, results and temporaries, as reported by the compiler


def compiled(function: Callable[..., Any], *args: Any, **options: Any) -> Compiled:
    """Compiles `function` for `args`; `options` are passed to `jax.jit`."""
    began = time.perf_counter()
    traced = jax.jit(function, **options).trace(*args)
    program = traced.lower().compile()
    seconds = time.perf_counter() - began
    flops = count_flops(traced.jaxpr.jaxpr).total
    return Compiled(program, flops, seconds, peak_bytes(program, jax.devices()[0].platform))


def chained_seconds(
    function: Callable[..., jax.Array], count: int, x: jax.Array, *operands: Any
) -> float:
    """Returns the seconds of one application `x = function(x, *operands)` in a chain of `count`.

    `function` must keep the shape of `x`. The chain is one program, which excludes the time of
    launches. `operands` are arguments of that program: constants would slow down the compiler.
    """

    def chain(x: jax.Array, *operands: Any) -> jax.Array:
        return jax.lax.fori_loop(0, count, lambda _, x: function(x, *operands), x)

    loop = jax.jit(chain)
    return median_seconds(lambda: loop(x, *operands)) / count


def process_peak_gib() -> float | None:
    """Returns the peak device memory of this process in GiB; None on a CPU."""
    return peak_memory().get("memory_peak_gib")


def memory_limit() -> float | None:
    """Returns the bytes that JAX may use on the device; None on a CPU."""
    stats = jax.devices()[0].memory_stats()
    return float(stats["bytes_limit"]) if stats else None


def random_like(shapes: Any, dtype: Any = None, seed: int = 0) -> Any:
    """Returns random numpy arrays for a tree of `jax.ShapeDtypeStruct`: parameters or a batch.

    Kernels are normal with variance 1 / fan-in. None is zero, so every condition has an effect.
    Biases are small, scales near 1, integers from 0 to 255. All tensors are cut from one pool, so
    values repeat between tensors; billions of values take seconds.

    Args:
        shapes: the tree.
        dtype: dtype of the floating arrays; by default that of each shape.
        seed: seed of the pool.
    """
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal(_POOL, np.float32)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return rng.integers(0, 256, leaf.shape).astype(leaf.dtype)
        start, size = int(rng.integers(_POOL)), math.prod(leaf.shape)
        values = np.take(pool, np.arange(start, start + min(size, _POOL)), mode="wrap")
        match getattr(path[-1], "key", "") if path else "":
            case "scale":
                values = 1 + 0.05 * values
            case "bias":
                values = 0.05 * values
            case "negative_slope":
                values = np.full_like(values, 0.25)
            case "kernel" | "embedding":
                values = values * np.float32(1 / math.sqrt(math.prod(leaf.shape[:-1])))
        values = values.astype(leaf.dtype if dtype is None else dtype)
        return np.resize(values, leaf.shape)

    return jax.tree_util.tree_map_with_path(fill, shapes)


class Difference(NamedTuple):
    """The difference between arrays and their reference."""

    largest: float  # largest absolute difference
    relative: float  # norm of the difference divided by the norm of the reference
    finite: bool


def difference(found: Any, expected: Any) -> Difference:
    """Returns the difference of two trees of the same structure, each flattened to one vector."""
    a, b = (
        np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])
        for tree in (found, expected)
    )
    norm = float(np.linalg.norm(b)) or 1.0
    gap = np.abs(a - b)
    return Difference(
        float(gap.max()), float(np.linalg.norm(gap)) / norm, bool(np.isfinite(a).all())
    )
