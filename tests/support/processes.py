"""Runs a script in several processes with JAX's distributed runtime."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 900  # seconds; limits the wait of the others for a failed process


def run_processes(
    script: str, arguments: Sequence[object], logs: Path, *, processes: int, devices: int
) -> list[str]:
    """Runs `script *arguments ADDRESS PROCESSES ID` for each ID and returns the output of each.

    Every process has `devices` CPU devices. All must end with status 0.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, script, *map(str, arguments), address, str(processes)]
    files = [logs / f"process_{i}.log" for i in range(processes)]
    running = []
    try:
        for number, log in enumerate(files):
            with log.open("w") as file:
                running.append(
                    subprocess.Popen(
                        [*command, str(number)], env=environment, stdout=file, stderr=file
                    )
                )
        deadline = time.monotonic() + TIMEOUT
        codes: list[int | None] = [None] * processes
        while None in codes and not any(codes) and time.monotonic() < deadline:
            time.sleep(0.2)
            codes = [process.poll() for process in running]
    finally:
        for process in running:
            process.kill()
    printed = [log.read_text() for log in files]
    assert codes == [0] * processes, "\n\n".join(text[-4000:] for text in printed)
    return printed
