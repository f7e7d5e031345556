"""The traffic of a compiled program between devices, read from its HLO text.

A loop counts as often as it runs if the text states that, otherwise once. Bytes are those that one
device sends if every collective is a ring. For `n` devices in a group and a result of `r` bytes,
they are `r (n−1)/n` for an all-gather or all-to-all, twice that for an all-reduce, `r (n−1)` for a
reduce-scatter, whose result is a share, and `r` for a permutation.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_ITEM_BITS = {"pred": 8, "token": 0}  # other types end in their number of bits, such as bf16

# `  ROOT %name = f32[8,4]{1,0} all-reduce(%x), channel_id=1, …`
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) (?:\(.*)?.*\{$")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\]")
_CALLED = re.compile(
    r"\b(?:body|condition|calls|to_apply|branch_computations)=(?:\{([^}]*)\}|(%?[\w.-]+))"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
# A TPU's compiler may write a reduce-scatter as an all-reduce and a slice of it, in one fusion.
_FUSED_REDUCE_SCATTER = "all-reduce-scatter"


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Number and bytes of one kind of collective in one run of the program, per device."""

    count: int = 0
    sent: float = 0.0  # bytes

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.count + other.count, self.sent + other.sent)


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    rest: str  # operands and attributes


def collectives(text: str, devices: int) -> dict[str, Traffic]:
    """Returns the traffic of each kind of collective in `COLLECTIVES` that the program contains.

    Args:
        text: HLO of a compiled program, `compiled.as_text()`.
        devices: number of devices that it runs on, also the size of groups that list no devices.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations, entry = _parse(text)
    if entry is None:
        raise ValueError("no HLO of a program: it has no ENTRY computation")
    total: dict[str, Traffic] = {}
    for name, times in _times_run(computations, entry).items():
        for kind, sent in _collectives_of(computations, name, devices):
            total[kind] = total.get(kind, Traffic()) + Traffic(times, times * sent)
    return {kind: total[kind] for kind in COLLECTIVES if kind in total}


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str | None]:
    computations: dict[str, list[_Instruction]] = {}
    entry, current = None, []
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if not line.startswith((" ", "}")) and (found := _COMPUTATION.match(line)):
            current = computations.setdefault(found[2], [])
            entry = found[2] if found[1] else entry
        elif found := _INSTRUCTION.match(line):
            current.append(_Instruction(*found.groups()))
    return computations, entry


def _times_run(computations: dict[str, list[_Instruction]], entry: str) -> Counter[str]:
    """Counts how often each computation runs in one run of the program, with all branches taken."""
    times: Counter[str] = Counter()

    def visit(name: str, count: int) -> None:
        times[name] += count
        for instruction in computations.get(name, []):
            if instruction.name.startswith(_FUSED_REDUCE_SCATTER):
                continue
            trips = _trips(computations, instruction) if instruction.opcode == "while" else 1
            for called in _called(instruction):
                visit(called, count * trips)

    visit(entry, 1)
    return times


def _trips(computations: dict[str, list[_Instruction]], loop: _Instruction) -> int:
    """Returns how often a loop runs: as the compiler states, or else the bound of its counter.

    The counter starts at 0 and increases by 1. If neither is known, it is 1.
    """
    if found := _TRIPS.search(loop.rest):
        return int(found[1])
    condition = re.search(r"\bcondition=%?([\w.-]+)", loop.rest)
    bounds = [
        int(found[1])
        for instruction in computations.get(condition[1] if condition else "", [])
        if instruction.opcode == "constant" and (found := re.match(r"(\d+)\)", instruction.rest))
    ]
    return bounds[0] if len(bounds) == 1 else 1


def _called(instruction: _Instruction) -> Iterator[str]:
    for several, one in _CALLED.findall(instruction.rest):
        yield from (name.strip().lstrip("%") for name in (several or one).split(","))


def _collectives_of(
    computations: dict[str, list[_Instruction]], name: str, devices: int
) -> Iterator[tuple[str, float]]:
    """Yields kind and bytes sent of every collective in one computation, without those it calls."""
    for instruction in computations.get(name, []):
        if instruction.name.startswith(_FUSED_REDUCE_SCATTER) and instruction.opcode == "fusion":
            inner = [i for called in _called(instruction) for i in computations.get(called, [])]
            group = next((_group(i.rest, devices) for i in inner if "replica_groups" in i.rest), 1)
            yield "reduce-scatter", _sent("reduce-scatter", _bytes(instruction.shape), group)
            continue
        kind = instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            size = _result_bytes(instruction, kind)
            yield kind, _sent(kind, size, _group(instruction.rest, devices))


def _sent(kind: str, result: float, group: int) -> float:
    match kind:
        case "all-reduce":
            return 2 * result * (group - 1) / group
        case "all-gather" | "all-to-all":
            return result * (group - 1) / group
        case "reduce-scatter":
            return result * (group - 1)
        case _:
            return result


def _result_bytes(instruction: _Instruction, kind: str) -> float:
    """Returns the bytes of the result, without the operands that an asynchronous start also has."""
    shape = instruction.shape
    if instruction.opcode == kind or kind == "all-reduce":  # these have only their result
        return _bytes(shape)
    # (operand, result, …), ((operands), result, …) or ((operands), (results), …)
    if not shape.startswith("(("):
        return _bytes(_ARRAY.findall(shape)[1:2])
    results = shape.split("), ", maxsplit=1)[1]
    if results.startswith("("):
        return _bytes(results.split("), ")[0])
    return _bytes(_ARRAY.findall(results)[:1])


def _bytes(shape: str | list[tuple[str, str]]) -> float:
    arrays = _ARRAY.findall(shape) if isinstance(shape, str) else shape
    return sum(
        _item_bits(kind) / 8 * math.prod(int(n.lstrip("<=")) for n in sizes.split(",") if n)
        for kind, sizes in arrays
    )


def _item_bits(kind: str) -> int:
    if kind in _ITEM_BITS:
        return _ITEM_BITS[kind]
    found = re.match(r"[a-z]+(\d+)", kind)
    return int(found[1]) if found else 0


def _group(rest: str, devices: int) -> int:
    """Returns the number of devices in a group; all devices if no group is listed.

    Groups are written `{{0,1},{2,3}}`, `[2,4]<=[8]` (two groups of four) or, by the axes of a mesh,
    `mesh['x'=4,'y'=2], device_ids=(…) {'x'}`, where `'x':(1)2` is a part of an axis.
    """
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]", rest):
        return int(found[2])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return len(found[1].split(","))
    if found := re.search(r"replica_groups=mesh\[(.*?)\].*?\{(.*?)\}", rest):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    return devices
