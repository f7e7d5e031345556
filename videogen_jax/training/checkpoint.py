"""Checkpoints of a run with Orbax: state and data iterator together, saved asynchronously."""

from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from videogen_jax.training.step import TrainState


class Checkpoints:
    """The checkpoints of one run directory; a context manager that waits for the last write.

    Args:
        directory: the run's `checkpoints` folder, created if missing.
        keep: how many of the newest stay on disk.
    """

    def __init__(self, directory: Path, keep: int = 3):
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.LatestN(keep),
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, data: grain.DatasetIterator) -> None:
        """Starts writing; returns once the arrays are copied to the host."""
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), data=grain.checkpoint.CheckpointSave(data)
        )
        self._manager.save(step, args=items)

    def restore(self, step: int, abstract_state: Any, data: grain.DatasetIterator) -> TrainState:
        """The state of `step` in the shapes and shardings of `abstract_state`; moves `data` there."""
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state),
            data=grain.checkpoint.CheckpointRestore(data),
        )
        return self._manager.restore(step, args=items)["state"]

    def restore_ema(self, abstract_ema: Any) -> Any:
        """The averaged parameters of the newest checkpoint, for export and sampling."""
        step = self.latest_step()
        if step is None:
            raise FileNotFoundError(f"{self._manager.directory}: no complete checkpoint there")
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        wanted = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            {"ema": abstract_ema},
        )
        restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
        item = ocp.args.PyTreeRestore(wanted, restore_args=restore_args, partial_restore=True)
        return self._manager.restore(step, args=ocp.args.Composite(state=item))["state"]["ema"]
