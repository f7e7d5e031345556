"""Kills ingest at random times and checks the result: `python -m tests.support.kill_ingest`.

The suite kills it once, this script ten times.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.numbered_clips import H, read_numbers, write_numbered
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.video import decode_clip

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 120


def ingest_killed(source: Path, out: Path, kills: int, longest_wait: float) -> list[int]:
    """Kills `train.ingest` repeatedly, then lets it finish; returns the shards at each kill.

    Each run is killed at a random time, up to `longest_wait` seconds after its first clip.
    """
    command = [sys.executable, "-m", "train.ingest", str(source), str(out)]
    command += ["--short-side", str(H), "--min-side", "32", "--clips-per-shard", "3"]
    env, rng, shards = {**os.environ, "JAX_PLATFORMS": "cpu"}, random.Random(0), []
    # Log to a file: workers that outlive their parent would keep a pipe open.
    with tempfile.TemporaryFile("w+") as log:
        for _ in range(kills):
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
            )
            _wait_until_it_works(process, out)
            time.sleep(rng.uniform(0.0, longest_wait))
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
            assert not (out / "dataset_info.json").exists()
            shards.append(len(list(out.glob("clips-*"))))
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        log.seek(0)
        assert done.returncode == 0, log.read()
    return shards


def _wait_until_it_works(process: subprocess.Popen, out: Path) -> None:
    """Waits until the process has finished a clip."""
    begin = time.time()
    while not _has_counted(out / ".partial" / "progress", begin):
        assert process.poll() is None and time.time() - begin < LONGEST_SECONDS
        time.sleep(0.01)


def _has_counted(progress: Path, begin: float) -> bool:
    try:
        return any(f.stat().st_size and f.stat().st_mtime >= begin for f in progress.iterdir())
    except FileNotFoundError:  # the process removes and recreates the folder
        return False


def main() -> None:
    """Kills ingest ten times over 90 clips in 30 shards."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "clips", Path(folder) / "out"
        source.mkdir()
        for index in range(90):
            write_numbered(source / f"{index:02d}.mp4", count=20 + index)
        print("shards of 30 at each kill:", ingest_killed(source, out, kills=10, longest_wait=1.5))
        records = list(ClipDataset(out))
    assert [record.id for record in records] == [f"{index:02d}.mp4" for index in range(90)]
    for index, record in enumerate(records):
        assert read_numbers(decode_clip(record)) == list(range(20 + index))
    print("complete: 90 clips, each once, every frame right")


if __name__ == "__main__":
    main()
