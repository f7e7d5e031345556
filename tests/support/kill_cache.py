"""Kills the creation of a latent cache at random times: `python -m tests.support.kill_cache`.

It sends SIGKILL ten times, first to one process, then to two. The caches at the end equal that of
an uninterrupted run byte for byte.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))

from tests.data.latents.test_reader import contents  # noqa: E402
from tests.support import cached_training  # noqa: E402

ADDRESS = "localhost:27183"
LONGEST_SECONDS = 300
LINE = ["--num-frames", "3", "--resolution", "16", "--fps", "8", "--epochs", "300"]
LINE += ["--clips-per-shard", "1", "--batch-size", "1"]


def start(folder: Path, out: Path, processes: int) -> list[subprocess.Popen]:
    command = [sys.executable, "-m", "train.cache_latents", folder / "clips", folder / "model", out]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    started = []
    for number in range(processes):
        peers = ["--distributed.coordinator-address", ADDRESS, "--distributed.num-processes"]
        peers += [str(processes), "--distributed.process-id", str(number)]
        line = [*map(str, command), *LINE, *(peers if processes > 1 else [])]
        with (folder / "log").open("a") as log:
            started.append(subprocess.Popen(line, cwd=ROOT, env=env, stdout=log, stderr=log))
    return started


def end(started: list[subprocess.Popen]) -> list[int]:
    return [process.wait(LONGEST_SECONDS) for process in started]


def killed(folder: Path, out: Path, processes: int, kills: int, rng: random.Random) -> list[int]:
    """Creates a cache despite kills; returns the number of shards after each kill."""
    shards = []
    for _ in range(kills):
        started, begin = start(folder, out, processes), time.time()
        wanted = len(list(out.glob("shard-*"))) + rng.choice((0, 1))
        # Wait for the wanted number of shards and for a folder written by these processes.
        while len(list(out.glob("shard-*"))) < wanted or not any(
            _age(path) >= begin for path in out.glob(".shard-*")
        ):
            assert all(process.poll() is None for process in started), (folder / "log").read_text()
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.4))
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        end(started)
        assert not (out / "info.json").exists(), "the run ended before it was killed"
        shards.append(len(list(out.glob("shard-*"))))
    assert end(start(folder, out, processes)) == [0] * processes, (folder / "log").read_text()
    return shards


def _age(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), random.Random(0)
        cached_training.write_clips(folder / "clips")
        cached_training.write_model(folder / "model")
        assert end(start(folder, folder / "whole", 1)) == [0], (folder / "log").read_text()
        whole = contents(folder / "whole")
        for processes, kills in ((1, 7), (2, 3)):
            out = folder / f"killed-{processes}"
            shards = killed(folder, out, processes, kills, rng)
            assert contents(out) == whole
            print(f"{processes} process(es): shards of 11 after each kill {shards}; same bytes")


if __name__ == "__main__":
    main()
