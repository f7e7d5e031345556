"""Which kernel computes an attention: one table, by platform, dtype, lengths and width of a head.

A kernel is a module with `attention(q_BTND, k_BSND, v_BSND)`, the `PLATFORM` that it is for, and
`refusal(sizes)`, which says why it cannot compute attention of some sizes.
"""

import contextlib
import contextvars
import dataclasses
import typing
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Literal

import jax.numpy as jnp

from videogen_jax.errors import UserError
from videogen_jax.kernels import cpu, cudnn, splash
from videogen_jax.kernels.sizes import Sizes

Platform = Literal["cpu", "cuda", "tpu"]
Selection = Literal["auto", "blocked", "cpu", "cudnn", "splash"]
"""`auto` is the table's choice. `blocked` is the plain formula, for any platform and sizes."""

KERNELS: dict[str, ModuleType] = {"cpu": cpu, "cudnn": cudnn, "splash": splash}

# The kernel of each attention that is traced, if that is recorded.
_record: contextvars.ContextVar[dict[Sizes, str] | None] = contextvars.ContextVar(
    "record", default=None
)

_HALF = (jnp.bfloat16, jnp.float16)
_TPU = (jnp.bfloat16, jnp.float32)
_ANY = (*_HALF, jnp.float32)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A row of the table: the sizes for which a kernel is better than the plain formula.

    It holds where the kernel also takes the sizes: see its `refusal`.
    """

    platform: Platform
    kernel: str
    dtypes: tuple[object, ...]
    min_keys: int = 0
    min_logits: int = 0  # of a head


# The first row that fits holds; without one it is the plain formula, `blocked`.
TABLE = (
    # Measured on an H200: 4 to 6 times as fast at 1024 keys and more, slower at 256. Shorter
    # sequences, text and frames, were not faster: docs/accelerator.md.
    Choice("cuda", "cudnn", _HALF, min_keys=512),
    # Not measured on a TPU. By the compiler's figures it moves fewer bytes through memory than the
    # plain formula at 576 keys, and more at 256 and for text: docs/performance.md.
    Choice("tpu", "splash", _TPU, min_keys=512),
    # Measured on two cores against the plain formula: 1.1 to 6 times as fast forward at 256 keys
    # and more; for the 77 keys of a text 1.0 to 1.4 times forward and 1.3 to 1.9 in both passes
    # (docs/performance.md).
    Choice("cpu", "cpu", _ANY, min_logits=2**15),
)


def choose(platform: str, sizes: Sizes) -> str:
    """Returns the name of the kernel that the table has for these sizes on a platform."""
    for row in TABLE:
        if (
            row.platform == platform
            and sizes.dtype in row.dtypes
            and sizes.keys >= row.min_keys
            and sizes.logits >= row.min_logits
            and not KERNELS[row.kernel].refusal(sizes)
        ):
            return row.kernel
    return "blocked"


def of_short(selection: Selection) -> Selection:
    """Returns the selection for short sequences, where that for an image's pixels is given."""
    return "blocked" if selection == "blocked" else "auto"


def kernels_by_platform(sizes: Sizes, selection: Selection = "auto") -> dict[str, str]:
    """Returns the names of the kernels of all platforms that do not use the plain formula."""
    if selection == "blocked":
        return {}
    if selection != "auto":
        return {KERNELS[selection].PLATFORM: selection}
    chosen = {row.platform: choose(row.platform, sizes) for row in TABLE}
    return {platform: name for platform, name in chosen.items() if name != "blocked"}


def check(selection: Selection, platform: str, sizes: Sizes) -> None:
    """Checks that a kernel that was chosen by hand computes these sizes on a platform.

    Raises:
        UserError: it does not, or there is no such kernel; says why.
    """
    if selection not in (names := typing.get_args(Selection)):
        raise UserError(f"attention is {selection!r}, expected one of {', '.join(names)}")
    if selection in ("auto", "blocked"):
        return
    kernel = KERNELS[selection]
    why = kernel.refusal(sizes)
    if kernel.PLATFORM != platform:
        why = f"it is a kernel for {kernel.PLATFORM}, this program is for {platform}"
    if why:
        raise UserError(f"attention {selection!r} cannot compute {sizes}: {why}")


@contextlib.contextmanager
def recording() -> Iterator[Mapping[Sizes, str]]:
    """Yields a mapping that receives the name of the kernel of each attention within the block.

    That is when a function is traced, for the platform of the active mesh (`layout.platform`).
    """
    taken: dict[Sizes, str] = {}
    token = _record.set(taken)
    try:
        yield taken
    finally:
        _record.reset(token)


def record(sizes: Sizes, kernel: str) -> None:
    """Adds the kernel of an attention to the mapping of `recording`, if there is one."""
    taken = _record.get()
    if taken is not None:
        taken[sizes] = kernel


def describe(taken: Mapping[Sizes, str]) -> list[str]:
    """Returns a line for each kernel with the sizes that it computes, longest sequences first."""
    lines = []
    for kernel in sorted(set(taken.values())):
        sizes = sorted((s for s, name in taken.items() if name == kernel), key=lambda s: -s.logits)
        of_widths = ", ".join(f"{s.queries} × {s.keys} of {s.width}" for s in sizes)
        lines.append(f"{kernel}: {of_widths}")
    return lines
