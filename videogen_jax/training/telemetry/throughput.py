"""Throughput of a run: its speed, the utilisation of its devices, and where its time goes."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

from videogen_jax.training.telemetry.flops import FlopCount, peak_flops

Item = TypeVar("Item")

# What the loop does besides steps. Only waiting for data counts towards the time of steps.
BREAKS = ("start", "compile", "checkpoint", "samples", "validation")
DATA = "data"


class Meter:
    """Wall time since the creation of the meter, by what it was spent on.

    Time that is not accounted for elsewhere counts for steps: devices compute while the loop
    prepares the next step, so this is where the loop waits for a step's result. Likewise, time
    spent on data is the time that the loop waited for it, even if devices were still busy.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._began = clock()
        self._spent: dict[str, float] = dict.fromkeys((*BREAKS, DATA), 0.0)

    @contextlib.contextmanager
    def spend(self, what: str) -> Iterator[None]:
        """Counts the block's time for `what`, one of `BREAKS` or `DATA`."""
        began = self._clock()
        try:
            yield
        finally:
            self._spent[what] += self._clock() - began

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items, and counts the time until each arrives as waiting for data."""
        iterator = iter(items)
        while True:
            with self.spend(DATA):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def stepping(self) -> float:
        """Returns the seconds spent on steps, including waiting for their data."""
        return self._clock() - self._began - sum(self._spent[what] for what in BREAKS)

    def shares(self) -> dict[str, float]:
        """Returns the share of the time by what it was spent on, `steps` first; they sum to 1."""
        total = max(self._clock() - self._began, 1e-9)
        shares = {what: seconds / total for what, seconds in self._spent.items()}
        return {"steps": 1.0 - sum(shares.values()), **shares}

    def __str__(self) -> str:
        shares = self.shares()
        goodput = shares.pop("steps")
        rest = ", ".join(f"{what} {self._spent[what]:.1f} s" for what in shares)
        return f"goodput {goodput:.1%} of {self._clock() - self._began:.1f} s; {rest}"


class StepCost(NamedTuple):
    """The cost of one step over all devices. `peak` is None if the devices are not known."""

    flops: FlopCount
    frames: int
    peak: float | None  # operations per second

    def rates(self, steps_per_second: float) -> dict[str, float]:
        """Returns steps, frames and operations per second, and MFU, the share of the peak."""
        rates = {
            "steps_per_second": steps_per_second,
            "frames_per_second": self.frames * steps_per_second,
            "tflops_per_second": self.flops.total * steps_per_second / 1e12,
        }
        if self.peak is not None:
            rates["mfu"] = self.flops.total * steps_per_second / self.peak
        return rates

    def __str__(self) -> str:
        lines = [f"a step takes {self.flops.total / 1e12:.4g} TFLOP for {self.frames} frames"]
        if self.flops.uncounted:
            lines.append(f"  not counted in full: {', '.join(self.flops.uncounted)}")
        if self.peak is None:
            lines.append("  MFU is not reported: the peak of these devices is not known")
        return "\n".join(lines)


def step_cost(flops: FlopCount, batch: Mapping[str, Any], devices: Sequence[Any]) -> StepCost:
    """Returns the cost of a step on `batch`, whose arrays span all processes."""
    peak = peak_flops(devices[0].device_kind)
    return StepCost(flops, count_frames(batch), None if peak is None else peak * len(devices))


def count_frames(batch: Mapping[str, Any]) -> int:
    """Counts the frames of a batch: those of its clips, or its single images."""
    clips = [x.shape[0] * x.shape[1] for x in batch.values() if x.ndim == 5]
    images = [x.shape[0] for name, x in batch.items() if x.ndim == 4 and "flow" not in name]
    return max(clips) if clips else sum(images)


def peak_memory() -> dict[str, float]:
    """Returns the peak memory of any local device, in GiB; empty if devices do not report it."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if s and "peak_bytes_in_use" in s]
    return {"memory_peak_gib": max(peaks) / 2**30} if peaks else {}
