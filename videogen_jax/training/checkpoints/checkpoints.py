"""Checkpoints of a run with Orbax: written while training continues, and verified before use.

A checkpoint is a folder `<step>` with the sharded `state`, `meta` (data position, configuration,
code version, metrics) and `manifest.json`. The manifest is written before Orbax renames the folder
to `<step>`, so a folder with this name is complete. The state is restored in the requested
shardings, on any devices.

The checkpoints of a run in a bucket are written to a temporary folder and then uploaded:
`storage.py`.
"""

import contextlib
import errno
import gc
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from videogen_jax.data.loader import Batches
from videogen_jax.errors import UserError, first_line
from videogen_jax.paths import is_remote
from videogen_jax.training.checkpoints.files import agree_on_newest, warn
from videogen_jax.training.checkpoints.manifest import write_manifest
from videogen_jax.training.checkpoints.quiet import without_save_errors
from videogen_jax.training.checkpoints.save_barriers import SaveBarriers
from videogen_jax.training.checkpoints.storage import CheckpointBucket
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.processes.peers import is_lost_peer
from videogen_jax.training.step import TrainState

_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
_WRITE_ERRORS = (OSError, ValueError, RuntimeError)  # Orbax raises any of them for a full disk


class Checkpoints:
    """The checkpoints of one run directory; a context manager that waits for the last write.

    The constructor verifies existing checkpoints. It renames damaged ones that are newer than the
    newest intact one to `<step>.damaged`, with a message that names the damaged file.

    Args:
        directory: the run's `checkpoints` folder, created if missing; may be in a bucket.
        keep: number of the newest checkpoints that stay on disk.
        keep_best: number of checkpoints with the lowest `best_metric` that stay in addition.
        best_metric: name of a metric that is passed to `save`.
        about: JSON values that are saved in each checkpoint's `meta`.

    Raises:
        UserError: there are checkpoints, but none is intact; the message says what is wrong with
            each. Or `directory` is in a bucket and there are several processes.
    """

    def __init__(
        self,
        directory: Path,
        keep: int = 3,
        keep_best: int = 0,
        best_metric: str = "loss",
        about: Mapping[str, Any] | None = None,
    ):
        self._bucket = None
        if is_remote(directory):
            self._bucket = CheckpointBucket(directory, keep, keep_best, best_metric)
        self._directory = self._bucket.local if self._bucket else directory.absolute()
        self._best_metric, self._about = best_metric, dict(about or {})
        self._newest = agree_on_newest(self._directory)
        self._writing: int | None = None
        self._error: str | None = None  # of the last save, if it failed
        self._quiet = contextlib.ExitStack()
        self.failures = 0
        self.restored: dict[str, float] = {}  # metrics of the checkpoint that was restored
        self._barriers = SaveBarriers() if jax.process_count() > 1 else None
        best = checkpoint_managers.BestN(
            get_metric_fn=self._value,
            reverse=True,
            n=keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policies = [checkpoint_managers.LatestN(keep), *([best] if keep_best else [])]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            best_fn=self._value if keep_best else None,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(
                barrier_sync_fn=self._barriers, post_finalization_callback=self._before_commit
            ),
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def __enter__(self) -> "Checkpoints":
        self._quiet.enter_context(without_save_errors())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        with self._quiet:
            if self._cannot_finish() or is_lost_peer(error):
                return
            self._wait()
            self._manager.close()
            if self._bucket:
                self._bucket.close()
            if self.failures:  # delete what they have left behind, which reports that quietly
                del self._manager
                gc.collect()
        if kind is None:
            self._raise_last_error()

    def latest_step(self) -> int | None:
        """Returns the step of the newest intact checkpoint, or None."""
        return self._newest

    def save(
        self,
        step: int,
        state: TrainState,
        data: Batches,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts writing a checkpoint; returns once the arrays are copied to the host.

        If the write fails, for example on a full disk, this call or a later one reports it and
        counts it in `failures`. Earlier checkpoints stay and the run continues. If the last write
        failed, leaving the context raises.

        Raises:
            UserError: a write failed in one of several processes, which cannot continue without it.
        """
        self._wait()
        if step in self._manager.all_steps():
            return
        meta = {"step": step, "data": data.get_state(), "metrics": dict(metrics or {})}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave({**meta, **self._about})
        )
        best = (metrics or {}).get(self._best_metric, math.inf)
        self._writing, self._error = step, None
        try:
            self._manager.save(step, args=items, metrics={"value": best, "name": self._best_metric})
        except _WRITE_ERRORS as error:
            self._report(error)

    def hold(self, step: int, steps_during_save: int | None) -> None:
        """Waits, after `step`, for a write that began `steps_during_save` or more steps ago.

        Every process waits after the same step, however far its own write is. With None, it does
        not wait. A checkpoint for a bucket is uploaded by the first call after it is written.
        """
        if self._writing is None:
            return
        if self._bucket and not self._manager.is_saving_in_progress():
            return self._wait()
        too_far = steps_during_save is not None and step - self._writing >= steps_during_save
        if too_far or self._cannot_finish():
            self._wait()

    def finish(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            UserError: it could not be written.
        """
        self._wait()
        self._raise_last_error()

    def restore(self, step: int, abstract_state: Any, data: Batches) -> TrainState:
        """Restores the state of `step` in the shapes and shardings of `abstract_state`.

        It also moves `data` to the position in the checkpoint.

        Raises:
            UserError: the state in the checkpoint does not match `abstract_state`.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state), meta=ocp.args.JsonRestore()
        )
        try:
            restored = self._manager.restore(step, args=items)
        except (ValueError, KeyError) as error:
            where = self._directory / str(step)
            raise UserError(f"{where} does not match the state of this run: {error}") from error
        data.set_state(restored["meta"]["data"])
        self.restored = restored["meta"].get("metrics", {})
        return restored["state"]

    def _before_commit(self) -> None:
        """Writes the manifest. Orbax calls it in process 0 after all writes, before the rename."""
        (folder,) = self._directory.glob(f"{self._writing}.orbax-checkpoint-tmp*")
        write_manifest(folder)

    @property
    def _place(self) -> Path:
        return self._bucket.remote if self._bucket else self._directory

    def _value(self, metrics: Mapping[str, Any]) -> float:
        """Returns the value by which a checkpoint is compared, infinite if of another metric."""
        same = metrics.get("name", "loss") == self._best_metric  # earlier versions saved no name
        return metrics["value"] if same else math.inf

    def _cannot_finish(self) -> bool:
        return self._barriers is not None and self._barriers.failed

    def _wait(self) -> None:
        if self._writing is None:
            return
        try:
            self._manager.wait_until_finished()
            if self._bucket and self._error is None:
                self._bucket.upload()
            self._newest = self._writing if self._error is None else self._newest
        except _WRITE_ERRORS as error:
            self._report(error)
        self._writing = None

    def _report(self, error: Exception) -> None:
        step, self._writing, self._error = self._writing, None, _reason(error)
        last = (
            "none before it" if self._newest is None else f"the last one is of step {self._newest}"
        )
        if jax.process_count() > 1:  # the others wait for this process's part
            raise UserError(
                f"checkpoint of step {step} could not be written here ({last}; the same command "
                f"line continues): {self._error}"
            ) from error
        self.failures += 1
        if is_main():
            # The incomplete checkpoint would take the space that the next one needs.
            for part in self._directory.glob(f"{step}.orbax-checkpoint-tmp*"):
                shutil.rmtree(part, ignore_errors=True)
        self._manager.reload()
        warn(
            f"checkpoint of step {step} could not be written ({self.failures} failed so far; "
            f"{last}): {self._error}"
        )

    def _raise_last_error(self) -> None:
        if self._error is not None:
            raise UserError(
                f"{self._place}: the last checkpoint could not be written: {self._error}"
            )


def _reason(error: Exception) -> str:
    """Returns the system's reason in place of the long message that has it, if there is one."""
    found = [reason for number in _REASONS if (reason := os.strerror(number)) in str(error)]
    return found[0] if found else first_line(error)
