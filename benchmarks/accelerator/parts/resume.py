"""Compares a killed and resumed run of `tiny`'s stage 1 with an uninterrupted one and the CPU.

Each run is its own process (`benchmarks.accelerator.tiny_run`), which can be killed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.accelerator.measure import difference
from benchmarks.accelerator.results import Report

STEPS, KILL_AFTER = 50, 30
_DRY_STEPS, _DRY_KILL_AFTER = 4, 3
# Of the parameters, relative: a GPU may add in a different order in another process.
_RESUME_LIMIT = 1e-3
_CPU_LIMIT = 0.05  # of the loss at any step, relative: rounding alone causes much less
# Processes that each preallocate most of the memory would not fit together.
_MEMORY = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}


def run(report: Report) -> None:
    """Adds the tables `runs` and `losses`."""
    steps, kill = (_DRY_STEPS, _DRY_KILL_AFTER) if report.dry_run else (STEPS, KILL_AFTER)
    runs = _Runs(steps, report.dry_run)
    whole, killed, on_cpu = (report.scratch / name for name in ("whole", "killed", "cpu"))
    seconds = runs.finish(whole)
    report.add("runs", run="uninterrupted", seconds=seconds, largest=None, relative=None)
    last = runs.kill_after(killed, kill)
    seconds = runs.finish(killed)
    gap = difference(*(np.load(path / "params.npy") for path in (killed, whole)))
    name = f"killed after step {last}, resumed"
    report.add("runs", run=name, seconds=seconds, largest=gap.largest, relative=gap.relative)
    if gap.relative > _RESUME_LIMIT:
        report.fail("resuming", f"parameters differ by {gap.relative:.3g}, relative")
    if report.dry_run:
        report.note("the device is the CPU, so its losses are compared with themselves")
        on_cpu = whole
    else:
        runs.finish(on_cpu, cpu=True)
    compare_losses(report, losses(whole), losses(on_cpu))


def compare_losses(report: Report, here: dict[int, float], on_cpu: dict[int, float]) -> None:
    """Adds rows to `losses`, and a failure if they differ by more than rounding explains."""
    for step in sorted(here):
        report.add("losses", step=step, loss=here[step], cpu_loss=on_cpu[step])
    worst = max(abs(here[step] / on_cpu[step] - 1) for step in here)
    if not worst < _CPU_LIMIT:  # also for NaN
        report.fail("losses", f"up to {worst:.1%} from the CPU's, expected below {_CPU_LIMIT:.0%}")


class _Runs:
    """Starts runs of a number of steps, each in its own process."""

    def __init__(self, steps: int, dry_run: bool):
        self._arguments = [str(steps), *(["dry"] if dry_run else [])]

    def start(self, run_dir: Path, cpu: bool = False) -> subprocess.Popen[bytes]:
        """Starts the run, or resumes it from its newest checkpoint."""
        command = [sys.executable, "-m", "benchmarks.accelerator.tiny_run", str(run_dir)]
        environment = {**os.environ, **_MEMORY, **({"JAX_PLATFORMS": "cpu"} if cpu else {})}
        return subprocess.Popen([*command, *self._arguments], env=environment)

    def finish(self, run_dir: Path, cpu: bool = False) -> float:
        """Runs to the end and returns the seconds that it took."""
        began = time.perf_counter()
        if code := self.start(run_dir, cpu).wait():
            raise RuntimeError(f"the run in {run_dir.name} ended with exit status {code}")
        return time.perf_counter() - began

    def kill_after(self, run_dir: Path, step: int) -> int:
        """Kills the run once its log contains this step; returns the last step of the log."""
        process = self.start(run_dir)
        while max(losses(run_dir), default=0) < step:
            if process.poll() is not None:
                code = process.poll()
                raise RuntimeError(f"the run ended before step {step}: exit status {code}")
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return max(losses(run_dir))


def losses(run_dir: Path) -> dict[int, float]:
    """Returns the losses by step from `metrics.jsonl`, without a line that is being written."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}
