"""Checkpoints of a run in a bucket: written on this machine, then uploaded as a whole.

Orbax itself writes to file systems and, of all object storage, to Google Cloud Storage only. Here
every scheme of fsspec is the same: a checkpoint is complete when its `manifest.json` is there,
which is uploaded last. The processes of a run write one checkpoint together, which needs a folder
that all of them share: with several processes, the run directory has to be in a file system.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

import jax

from videogen_jax.errors import UserError
from videogen_jax.paths import move, remove, upload
from videogen_jax.training.checkpoints.files import (
    local_checkpoint,
    newest_intact,
    read_about,
    steps_of,
    warn,
)
from videogen_jax.training.checkpoints.manifest import NAME


class CheckpointBucket:
    """The remote folder of a run's checkpoints, and a temporary local one with the newest.

    Args:
        remote: the run's `checkpoints` folder in a bucket.
        keep: number of the newest checkpoints that stay there.
        keep_best: number of checkpoints with the lowest `best_metric` that stay in addition.
        best_metric: name of a metric.

    Attributes:
        local: the folder in which checkpoints are written; it has the newest intact one.

    Raises:
        UserError: no checkpoint there is intact, the bucket cannot be used, or there are several
            processes.
    """

    def __init__(self, remote: Path, keep: int, keep_best: int, best_metric: str):
        if jax.process_count() > 1:
            raise UserError(
                f"{remote.parent}: the run directory of several processes must be in a file system "
                "that all of them share, such as a mounted bucket (docs/how-to/buckets.md)"
            )
        self.remote = remote
        self._keep, self._keep_best, self._best_metric = keep, keep_best, best_metric
        newest, damaged = newest_intact(remote)
        for step, damage in damaged.items():
            aside = f"{step}.damaged"
            move(remote / str(step), remote / aside)
            warn(
                f"checkpoint of step {step} is not used, the one of step {newest} is: {damage}; "
                f"it is now {aside}"
            )
        found = None if newest is None else local_checkpoint(remote / str(newest))
        self._temporary = tempfile.TemporaryDirectory(prefix="videogen-checkpoints-")
        self.local = Path(self._temporary.name)
        if found is not None:
            shutil.move(found, self.local / found.name)

    def upload(self) -> None:
        """Uploads the checkpoints that are not there yet, and removes those not to be kept.

        Raises:
            UserError: the bucket cannot be written.
        """
        there = steps_of(self.remote)
        for step in steps_of(self.local):
            if step not in there:
                upload(self.local / str(step), self.remote / str(step), last=NAME)
        there = steps_of(self.remote)
        kept = {*there[: self._keep], *self._best(there)}
        for step in there:
            if step not in kept:
                remove(self.remote / str(step), first=NAME)

    def _best(self, steps: list[int]) -> list[int]:
        if not self._keep_best:
            return []
        found = []
        for step in steps:
            with contextlib.suppress(OSError, ValueError):  # a damaged one is not among the best
                metrics = read_about(self.remote / str(step)).get("metrics", {})
                if self._best_metric in metrics:
                    found.append((metrics[self._best_metric], step))
        return [step for _, step in sorted(found)[: self._keep_best]]

    def close(self) -> None:
        """Deletes the local folder."""
        self._temporary.cleanup()
