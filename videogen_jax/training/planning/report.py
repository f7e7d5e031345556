"""Text reports of a step's plan, and a progress line for the time of compiling."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TextIO

from videogen_jax.training.planning.plan import StepPlan
from videogen_jax.training.planning.samples import SamplesPlan
from videogen_jax.training.planning.topology import Topology


class Planned(Protocol):
    """What is planned for the devices of a topology."""

    @property
    def topology(self) -> Topology: ...

    @property
    def total(self) -> float:
        """Bytes that a device needs; NaN if the compiler does not report them."""
        ...

    @property
    def fits(self) -> bool: ...


_GIB = 2.0**30
_QUIET_SECONDS = 30.0  # between progress lines that cannot be overwritten


def describe(plan: StepPlan) -> str:
    """Reports memory, operations, traffic and least time of a step, in several lines."""
    topology = plan.topology
    return "\n".join(
        [
            f"{plan.topology.size} × {topology.chip.kind} ({topology}), "
            f"mesh {spoken_mesh(plan.mesh)}, batch {plan.batch_size} ({plan.frames} frames)",
            f"compiled in {plan.seconds:.0f} s; these are the compiler's figures, nothing has run",
            *_memory(plan),
            *_operations(plan),
            *_traffic(plan),
            *_floor(plan),
        ]
    )


def describe_samples(plan: SamplesPlan | None) -> str:
    """Reports the memory of drawing samples, in several lines; None is a run that draws none."""
    if plan is None:
        return "the run draws no samples"
    rows = {"state, frozen, batch": plan.waiting, "drawing": plan.program}
    return _between_steps(plan, "it draws samples", rows)


def describe_validation(plan: SamplesPlan | None) -> str:
    """Reports the memory of validation, in several lines; None is a run that does not validate."""
    if plan is None:
        return "the run does not validate"
    rows = {"state, batch": plan.waiting, "validation": plan.program}
    return _between_steps(plan, "it validates", rows)


def _between_steps(plan: SamplesPlan, doing: str, rows: dict[str, float]) -> str:
    lines = [f"  {name:<24} {gib(size):>12}" for name, size in rows.items()]
    return "\n".join(
        [
            f"memory of a device while {doing}, {plan.examples} at a time on all devices "
            f"(compiled in {plan.seconds:.0f} s)",
            *lines,
            f"  {verdict(plan)}",
        ]
    )


def verdict(plan: Planned) -> str:
    """Reports in one line whether a program fits in a device's memory."""
    limit = plan.topology.chip.hbm_bytes
    if limit is None:
        return f"needs {gib(plan.total)}"
    word = "fits" if plan.fits else "does not fit"
    if plan.total != plan.total:  # the compiler gave no number
        return f"{word}: the compiler rejects it for lack of memory (a device has {gib(limit)})"
    return f"{word}: needs {gib(plan.total)} of {gib(limit)} ({plan.total / limit:.0%})"


def brief(plan: StepPlan) -> str:
    """Reports one try of a search for the largest batch, in one line."""
    return f"batch {plan.batch_size}: {verdict(plan)}; compiled in {plan.seconds:.0f} s"


def found(largest: StepPlan | None, refused: StepPlan | None) -> str:
    """Reports the result of a search for the largest batch."""
    if largest is None:
        return "no batch fits"
    border = "not reached"
    if refused is not None:
        border = f"{refused.batch_size} does not"
    return f"largest batch found that fits: {largest.batch_size} ({border})"


@contextlib.contextmanager
def ticking(what: str, stream: TextIO = sys.stderr) -> Iterator[None]:
    """Shows how long the block has been running: in one line, or in occasional lines of a file."""
    started, done = time.monotonic(), threading.Event()
    moves = stream.isatty()

    def show() -> None:
        while not done.wait(1.0 if moves else _QUIET_SECONDS):
            line = f"{what}: {time.monotonic() - started:.0f} s"
            stream.write(f"\r{line}" if moves else f"{line}\n")
            stream.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if moves:
            stream.write("\r\033[K")
            stream.flush()


def _memory(plan: StepPlan) -> Sequence[str]:
    rows = dict(plan.arguments)
    if plan.peak is not None:
        rows["activations, temporary"] = max(plan.peak - sum(rows.values()), 0.0)
    lines = [f"  {name:<24} {gib(size):>12}" for name, size in rows.items()]
    return ["memory of a device", *lines, f"  {verdict(plan)}"]


def _operations(plan: StepPlan) -> Sequence[str]:
    flops = plan.flops
    lines = [
        f"operations of a step, all devices: {flops.total / 1e12:.4g} TFLOP (products "
        f"{flops.products / 1e12:.4g}, convolutions {flops.convolutions / 1e12:.4g})"
    ]
    if flops.uncounted:
        lines.append(f"  not counted in full: {', '.join(flops.uncounted)}")
    if plan.attention:
        lines += ["attention of a device, queries × keys of features of a head"]
        lines += [f"  {line}" for line in plan.attention]
    return lines


def _traffic(plan: StepPlan) -> Sequence[str]:
    if plan.unread:
        return [
            f"sent by a device in a step: not known, jaxlib cannot read the program ({plan.unread})"
        ]
    if not plan.traffic:
        return []
    rows = [
        f"  {kind:<24} {gib(traffic.sent):>12}  in {traffic.count}"
        for kind, traffic in plan.traffic.items()
    ]
    return ["sent by a device in a step, over rings", *rows]


def _floor(plan: StepPlan) -> Sequence[str]:
    """Reports a step's least time by each of the manufacturers' figures, and by all of them."""
    chip, devices = plan.topology.chip, plan.topology.size
    sent = sum(traffic.sent for traffic in plan.traffic.values())
    rows: list[tuple[str, float, str]] = []
    if chip.peak:
        at = f"{chip.peak / 1e12:.0f} TFLOP/s, bfloat16"
        rows.append(("operations", plan.flops.total / devices / chip.peak, at))
    if chip.hbm_bandwidth and plan.accessed:
        at = f"{chip.hbm_bandwidth / 1e9:.0f} GB/s, XLA's estimate of what is read and written"
        rows.append(("memory", plan.accessed / chip.hbm_bandwidth, at))
    if chip.link_bandwidth and sent:
        at = f"{chip.link_bandwidth / 1e9:.0f} GB/s sent, all links of a device busy"
        rows.append(("links", sent / chip.link_bandwidth, at))
    if not rows:
        return []
    lines = [f"  {name:<24} {seconds:>10.4f} s  at {at}" for name, seconds, at in rows]
    longest = max(seconds for _, seconds, _ in rows)
    return [
        f"a step takes at least {longest:.4f} s (assumed peaks: {chip.source})",
        *lines,
    ]


def spoken_mesh(mesh: Mapping[str, int]) -> str:
    """Returns the sizes of a mesh by axis, in one line."""
    return " ".join(f"{axis}={size}" for axis, size in mesh.items())


def gib(size: float) -> str:
    """Returns a number of bytes in GiB, or in MiB if it is small."""
    return f"{size / _GIB:.2f} GiB" if size >= 0.01 * _GIB else f"{size / 2**20:.2f} MiB"
