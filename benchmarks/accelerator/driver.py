"""Runs each part in its own process within a time limit and prints its results.

A part that crashes, hangs or runs out of memory does not affect the others. Each part starts with
all of the device's memory free.
"""

import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.accelerator import results
from benchmarks.accelerator.parts import Part

NEEDED = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "einops",
    "numpy", "safetensors", "tqdm", "pillow",
)  # fmt: skip
OPTIONAL = ("av", "grain", "tyro", "tensorboardX", "diffusers", "torch")
# On the CPU. Without most optimizations, compilation takes half the time, and with the older
# emitters of fused operations, which JAX 0.11 no longer has, half of that.
_DRY_RUN = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
_DRY_RUN_XLA_FLAG = "--xla_cpu_use_fusion_emitters=false"
# XLA tries several kernels for each product and convolution. Above level 1 it also compares their
# results, which takes longer.
_XLA_FLAGS = "--xla_gpu_autotune_level=1"
_GRACE = 10.0  # seconds that a part may exceed its limit before it is killed


def run_parts(parts: Sequence[Part], out: Path, seconds: float, dry_run: bool) -> int:
    """Runs the parts one after the other and prints their tables.

    Args:
        parts: the parts, in the order in which to run them.
        out: folder for all output. It must not contain results yet.
        seconds: time limit for all parts. Each part's share is proportional to its weight. Time
            that it does not use goes to the later parts.
        dry_run: use tiny sizes on the CPU, without a time limit.

    Returns:
        The exit status: 0 if every part finished and found no fault, else 1.
    """
    out = out.resolve()
    if (out / results.FILE).exists():
        print(f"error: {out} has results already: name another --out", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    results.update(out, lambda record: record["about"].update(_about(seconds, dry_run)))
    _print_about(results.read(out)["about"])
    deadline = time.monotonic() + seconds

    def run(number: int) -> None:
        weights = sum(later.weight for later in parts[number:])
        share = (deadline - time.monotonic()) * parts[number].weight / weights
        _run_part(parts[number], out, share, dry_run)

    # Only one process measures the device at a time. A dry run measures nothing: it runs one part
    # per CPU in parallel, in reverse order, since the last part takes longest.
    with ThreadPoolExecutor(os.cpu_count() if dry_run else 1) as pool:
        order = range(len(parts))
        futures = {i: pool.submit(run, i) for i in (reversed(order) if dry_run else order)}
        for number, part in enumerate(parts):
            futures[number].result()
            _print_part(part, results.read(out)["parts"][part.name])
    shutil.rmtree(out / "work", ignore_errors=True)
    found = results.read(out)["parts"].values()
    bad = [part for part in found if part["status"] != "done" or part["failures"]]
    print(f"\n{len(found)} parts, {len(bad)} with failures; results in {out / results.FILE}")
    return 1 if bad else 0


def _run_part(part: Part, out: Path, seconds: float, dry_run: bool) -> None:
    record = {"status": "running", "seconds": 0.0, "tables": {}, "notes": [], "failures": []}
    results.update(out, lambda all_: all_["parts"].update({part.name: record}))
    began = time.monotonic()
    if seconds < 5 and not dry_run:
        status = "left out: no time was left"
    else:
        status = _process(part, out, seconds, dry_run)

    def close(all_: dict[str, Any]) -> None:
        all_["parts"][part.name].update(status=status, seconds=time.monotonic() - began)

    results.update(out, close)


def _process(part: Part, out: Path, seconds: float, dry_run: bool) -> str:
    """Runs the part's process and returns its status as text."""
    command = [sys.executable, "-m", "benchmarks.accelerator.part", part.name]
    command += ["--out", str(out), "--seconds", str(seconds), *(["--dry-run"] if dry_run else [])]
    with (out / "log.txt").open("a") as log:
        log.write(f"\n== {part.name} ==\n")
        log.flush()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=_environment(part, out, dry_run),
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(None if dry_run else seconds + _GRACE)
        except subprocess.TimeoutExpired:
            return f"stopped: it took more than its {seconds:.0f} s"
        finally:
            _kill(process)
    return "done" if code == 0 else f"failed: exit status {code}, see log.txt"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it and its children have already ended
    process.wait()


def _environment(part: Part, out: Path, dry_run: bool) -> dict[str, str]:
    """Returns the environment of a part's process, with settings of JAX and PyTorch."""
    scratch = out / "work" / "scratch"
    xla_flags = [os.environ.get("XLA_FLAGS", ""), _XLA_FLAGS]
    major, minor, *_ = importlib.metadata.version("jaxlib").split(".")
    if dry_run and (int(major), int(minor)) < (0, 11):
        xla_flags.append(_DRY_RUN_XLA_FLAG)
    # Parts that do not measure compilation use a compilation cache.
    cached = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    return {
        **os.environ,
        "XLA_FLAGS": " ".join(xla_flags).strip(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(part.memory),
        **(cached if dry_run or part.name == "resume" else {}),
        **(_DRY_RUN if dry_run else {}),
    }


def _about(seconds: float, dry_run: bool) -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.accelerator " + " ".join(sys.argv[1:]),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": seconds / 60,
        "dry_run": dry_run,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in (*NEEDED, *OPTIONAL)},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _print_about(about: dict[str, Any]) -> None:
    packages = about["packages"]
    there = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    print(f"Python {about['python']}, {about['cpus']} CPUs; {there}")
    if missing := [name for name, version in packages.items() if not version]:
        print(f"not installed: {', '.join(missing)}; comparisons with them are left out")


def _print_part(part: Part, record: dict[str, Any]) -> None:
    print(f"\n== {part.name}: {record['status']}, {record['seconds']:.0f} s", flush=True)
    for name, rows in record["tables"].items():
        print(f"-- {name}", *results.table_lines(rows), sep="\n")
    for note in record["notes"]:
        print(f"note: {note}")
    for failure in record["failures"]:
        print(f"FAILED: {failure}")
    sys.stdout.flush()
