"""Ingest on a Dask cluster of three processes, of which one is killed on the way.

    python -m tests.support.ingest_on_dask SOURCE OUT

Prints how many of how many shards were finished when the worker was killed.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.moving_clips import H
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.splitting import SplitConfig
from videogen_jax.data.clips.ingest import RunnerConfig, ingest
from videogen_jax.data.clips.ingest_config import IngestConfig

RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"
WORKERS = 3
_LONGEST_WAIT = 60.0  # seconds


def config_of(source: Path) -> IngestConfig:
    split = SplitConfig(split_shots=True, min_part_seconds=0.5)
    clip = ClipConfig(short_side=H, min_side=32)
    return IngestConfig(str(source), clip=clip, clips_per_shard=2, split=split)


def kill_at_work(cluster: Any, out: Path) -> int:
    """Kills a worker by SIGKILL once some rows are done; returns the number of finished shards."""
    end = time.monotonic() + _LONGEST_WAIT
    progress = out / ".partial" / "progress"
    while sum(file.stat().st_size for file in progress.glob("*")) < WORKERS:
        if time.monotonic() > end:
            raise TimeoutError("the cluster makes no progress")
        time.sleep(0.01)
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    return len(list(out.glob("clips-*")))


def main(source: Path, out: Path) -> None:
    from dask.distributed import LocalCluster, default_client  # slow to import

    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster:
        finished: list[int] = []
        killer = threading.Thread(target=lambda: finished.append(kill_at_work(cluster, out)))
        killer.start()
        # By default, 128 shards would be one partition.
        args = (f"--dask_client_address={cluster.scheduler_address}", "--dask_partition_size=1")
        info = ingest(config_of(source), out, RunnerConfig(RUNNER, args))
        killer.join()
        default_client().close()  # Beam leaves it open
    print(f"killed after {finished[0]} of {len(info['shard_clips'])} shards")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
