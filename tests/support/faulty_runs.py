"""Runs of `line_task.py` in processes that `faults.py` kills or disturbs, and their results."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support import line_task

STEPS, EVERY, WIDTH = 1_000_000, 5, 2**15  # checkpoints of 8 MB, so many kills happen during a save
SECONDS = 0.002  # time to read an example


def start(run_dir: Path, *process: object, steps: int = STEPS, width: int = WIDTH):
    arguments = [str(x) for x in (run_dir, steps, EVERY, width, SECONDS, *process)]
    log = (run_dir.parent / f"log-{'-'.join(map(str, process[-1:]))}").open("w")
    environment = {**os.environ, "PYTHONPATH": ".", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, line_task.__file__, *arguments], env=environment, stdout=log, stderr=log
    )


def log_of(run_dir: Path, number: object = "") -> str:
    return (run_dir.parent / f"log-{number}").read_text()


def steps_done(run_dir: Path) -> int:
    """Returns the last step that the run has logged."""
    path = run_dir / "metrics.jsonl"
    found = re.findall(r'"step": (\d+)', path.read_text()) if path.exists() else []
    return int(found[-1]) if found else 0


def complete(run_dir: Path) -> int:
    names = [path.name for path in (run_dir / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


def wait_until(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the run did not get that far, status {process.poll()}")
        time.sleep(0.01)


def ends_of(processes: list[subprocess.Popen], survivors: list[int]) -> list[str]:
    """Waits until the processes `survivors` have ended; describes when and how each ended."""
    began, ends = time.monotonic(), {}
    while len(ends) < len(survivors):
        for i in survivors:
            if i not in ends and processes[i].poll() is not None:
                ends[i] = f"{time.monotonic() - began:.1f} s (status {processes[i].returncode})"
        assert time.monotonic() - began < 60, "a process outlived the bound"
        time.sleep(0.02)
    assert all(processes[i].returncode for i in survivors), ends
    return [ends[i] for i in survivors]


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return f"localhost:{found.getsockname()[1]}"
