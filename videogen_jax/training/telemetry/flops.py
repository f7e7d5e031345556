"""Floating-point operations of a program, counted in its jaxpr, and peak rates of devices.

XLA's own count includes the body of a loop once, however often it runs. So a step that accumulates
over micro-batches would seem as cheap as one micro-batch. Here, the body of a scan counts once per
iteration.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

# Peak of dense bfloat16 products per device, in operations per second, from the manufacturers' data
# sheets. The keys are prefixes of `Device.device_kind`, longer ones first.
_PEAK_FLOPS = (
    ("TPU v6 lite", 918e12),
    ("TPU v6e", 918e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5e", 197e12),
    ("TPU v5", 459e12),  # v5p calls itself v5
    ("TPU v4", 275e12),
    ("NVIDIA H200", 989e12),
    ("NVIDIA H100", 989e12),
    ("NVIDIA A100", 312e12),
)


@dataclasses.dataclass(frozen=True)
class FlopCount:
    """Operations of one call over all devices; a multiplication and an addition are two operations.

    As usual, only matrix products and convolutions count. Operations that a remat policy repeats
    count each time.
    """

    products: float = 0.0
    convolutions: float = 0.0
    uncounted: tuple[str, ...] = ()  # primitives with unknown operations: loops, kernels

    @property
    def total(self) -> float:
        return self.products + self.convolutions

    def __add__(self, other: "FlopCount") -> "FlopCount":
        return FlopCount(
            self.products + other.products,
            self.convolutions + other.convolutions,
            tuple(sorted({*self.uncounted, *other.uncounted})),
        )

    def __mul__(self, times: float) -> "FlopCount":
        return FlopCount(self.products * times, self.convolutions * times, self.uncounted)


def peak_flops(device_kind: str) -> float | None:
    """Returns a device's peak of bfloat16 products, in operations per second; None if unknown."""
    return next((peak for kind, peak in _PEAK_FLOPS if device_kind.startswith(kind)), None)


def jaxpr_flops(fn: Callable[..., Any], *args: Any) -> FlopCount:
    """Counts the operations of `fn(*args)` without computing anything.

    Arrays may be `jax.ShapeDtypeStruct`.
    """
    return count_flops(jax.make_jaxpr(fn)(*args).jaxpr)


def count_flops(jaxpr: Jaxpr) -> FlopCount:
    """Counts the operations of a traced program, such as `jax.jit(f).trace(*args).jaxpr.jaxpr`.

    The body of a `scan` counts once per iteration. The body of a `while` counts once, and
    `uncounted` names it. The most expensive branch of a `cond` counts; of branches by platform, as
    of attention, the default one, so that a kernel's padding does not count. The body of a
    `shard_map` counts once per device.
    """
    total = FlopCount()
    for eqn in jaxpr.eqns:
        total += _of_equation(eqn)
    return total


def _of_equation(eqn: Any) -> FlopCount:
    match eqn.primitive.name:
        case "dot_general":
            return FlopCount(products=_of_product(eqn))
        case "conv_general_dilated":
            return FlopCount(convolutions=_of_convolution(eqn))
        case "cond":
            branches = [count_flops(branch.jaxpr) for branch in eqn.params["branches"]]
            if eqn.params.get("branches_platforms") is not None:
                return branches[-1]
            return max(branches, key=lambda count: count.total)
        case "scan":
            return _of_inner(eqn) * eqn.params["length"]
        case "while":
            return _of_inner(eqn) + FlopCount(uncounted=("while",))
        case "shard_map":
            return _of_inner(eqn) * eqn.params["mesh"].size
        case "pallas_call":
            estimate = eqn.params.get("cost_estimate")
            if estimate is None:
                return FlopCount(uncounted=("pallas_call",))
            return FlopCount(products=float(estimate.flops))
        case _:
            return _of_inner(eqn)


def _of_inner(eqn: Any) -> FlopCount:
    """Counts the operations of all programs that an equation calls."""
    total = FlopCount()
    for value in eqn.params.values():
        for jaxpr in _jaxprs(value):
            total += count_flops(jaxpr)
    return total


def _jaxprs(value: Any) -> Iterator[Jaxpr]:
    if isinstance(value, ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _jaxprs(item)


def _of_product(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs = eqn.invars[0].aval.shape
    depth = math.prod(lhs[axis] for axis in contracted)
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * depth


def _of_convolution(eqn: Any) -> float:
    """Counts padding as data, but not the zeros that `lhs_dilation` inserts between data."""
    kernel = eqn.invars[1].aval.shape
    _, in_features, *spatial = eqn.params["dimension_numbers"].rhs_spec
    taps = kernel[in_features] * math.prod(kernel[axis] for axis in spatial)
    zeros = math.prod(eqn.params["lhs_dilation"])
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * taps / zeros
