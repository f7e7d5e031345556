"""Finding the intact checkpoints of a run, and reading parts of a checkpoint."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from videogen_jax.errors import MissingFile, UserError, user_message
from videogen_jax.paths import is_remote, local_copy, temporary_folder
from videogen_jax.training.checkpoints.manifest import NAME, find_damage
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.weights.model_dir import check_against

_log = logging.getLogger(__name__)

FOLDER = "checkpoints"  # in a run directory
MODEL_DIRECTORY = "model_directory"  # in a checkpoint's `meta`: the one that the run trains with
_NOTHING, _NOT_INTACT = -1, -2  # sent to all processes in place of a step


def find_checkpoint(path: Path, step: int | None = None) -> Path:
    """Returns the folder of a checkpoint: `path` itself, or the newest intact one of a run.

    For one in a bucket, it is a copy, which is deleted when this process ends.

    Args:
        path: a run directory or one of its `checkpoints/<step>`.
        step: if `path` is a run directory, the step of the checkpoint; None for the newest.

    Raises:
        MissingFile: there is no such checkpoint.
        UserError: the checkpoint, or every checkpoint of the run, is damaged; the message names the
            damaged file.
    """
    if path.name.isdigit() and path.parent.name == FOLDER:
        folder, step = path.parent, int(path.name)
    else:
        folder = path / FOLDER
    if step is None:
        step, damaged = newest_intact(folder)
        for number, damage in damaged.items():
            warn(f"checkpoint of step {number} is not used: {damage}")
    elif not (folder / str(step)).is_dir():
        there_are = ", ".join(map(str, reversed(steps_of(folder)))) or "none"
        raise MissingFile(f"{folder}: no checkpoint of step {step}; there are: {there_are}")
    elif damage := find_damage(local_checkpoint(folder / str(step))):
        raise UserError(f"checkpoint of step {step} cannot be used: {damage}")
    if step is None:
        raise MissingFile(f"{folder}: no complete checkpoint there")
    return local_checkpoint(folder / str(step))


def find_best(run_dir: Path, metric: str) -> tuple[Path, float]:
    """Returns the folder of a run's intact checkpoint with the lowest metric, and the metric.

    Raises:
        MissingFile: no intact checkpoint has it.
    """
    folder, found = run_dir / FOLDER, []
    for step in steps_of(folder):
        try:
            value = read_about(folder / str(step)).get("metrics", {}).get(metric)
        except (OSError, ValueError):  # its damage is reported if no other one is found
            continue
        if value is not None:
            found.append((value, step))
    for value, step in sorted(found):
        checkpoint = local_checkpoint(folder / str(step))
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint, value
        warn(f"checkpoint of step {step} is not used: {damage}")
    raise MissingFile(f"{folder}: no intact checkpoint there has the metric {metric!r}")


def local_checkpoint(checkpoint: Path) -> Path:
    """Returns a checkpoint's folder, for one in a bucket a copy.

    Orbax writes to file systems and Google Cloud Storage only, and reads what tensorstore can.
    """
    return local_copy(checkpoint, temporary_folder())


def read_weights(checkpoint: Path, which: Literal["params", "ema"], abstract: Any) -> Any:
    """Reads the parameters, or their average, from a checkpoint that `find_checkpoint` returned.

    Args:
        checkpoint: the folder of one step.
        which: "ema" is the average.
        abstract: their shapes. Arrays without a sharding are placed on the first device.

    Raises:
        UserError: names or shapes in the checkpoint differ; the message lists them all.
    """
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here
        ),
        {which: abstract},
    )
    folder: Any = checkpoint.absolute() / "state"
    handler = ocp.PyTreeCheckpointHandler()
    with ocp.Checkpointer(handler) as reader:
        metadata: Any = handler.metadata(folder)
        check_against(abstract, metadata.tree[which], checkpoint)
        restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
        item = ocp.args.PyTreeRestore(wanted, restore_args=restore_args, partial_restore=True)
        return reader.restore(folder, args=item)[which]


def read_about(checkpoint: Path) -> dict[str, Any]:
    """Reads the `meta` of a checkpoint: step, data position, metrics, configuration, version."""
    return json.loads((checkpoint / "meta" / "metadata").read_text())


def agree_on_newest(directory: Path) -> int | None:
    """Returns the newest intact step that process 0 finds; process 0 renames damaged ones.

    Raises:
        UserError: no checkpoint is intact, or the directory cannot be read or written.
    """
    number, error = _NOTHING, None
    if is_main():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            step, damaged = newest_intact(directory)
            for newer, damage in damaged.items():
                _set_aside(directory / str(newer), damage, step)
            number = _NOTHING if step is None else step
        except Exception as exception:  # raised below: first the other processes must learn of it
            number, error = _NOT_INTACT, exception
    if jax.process_count() > 1:
        number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
    if number == _NOT_INTACT:
        if isinstance(error, OSError):
            raise UserError(f"{directory} cannot be used: {user_message(error)}") from error
        raise error or UserError(f"{directory}: process 0 found no intact checkpoint")
    return None if number == _NOTHING else number


def newest_intact(directory: Path) -> tuple[int | None, dict[int, str]]:
    """Returns the newest intact step, and what is wrong with each newer one."""
    damaged: dict[int, str] = {}
    for step in steps_of(directory):
        damage = find_damage(local_checkpoint(directory / str(step)))
        if damage is None:
            return step, damaged
        damaged[step] = damage
    if damaged:
        lines = [f"  step {step}: {damage}" for step, damage in damaged.items()]
        message = f"{directory}: none of the checkpoints is intact; to start over, remove them:"
        raise UserError("\n".join([message, *lines]))
    return None, damaged


def steps_of(directory: Path) -> list[int]:
    """Returns the steps that have a folder, newest first; in a bucket, those that are complete."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if path.name.isdigit()]
    complete = [path for path in found if not is_remote(path) or (path / NAME).is_file()]
    return sorted((int(path.name) for path in complete), reverse=True)


def _set_aside(checkpoint: Path, damage: str, used: int | None) -> None:
    aside = checkpoint.with_name(checkpoint.name + ".damaged")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.rename(aside)
    warn(
        f"checkpoint of step {checkpoint.name} is not used, the one of step {used} is: {damage}; "
        f"it is now {aside.name}"
    )


def warn(message: str) -> None:
    """Logs a warning in the main process only."""
    if is_main():
        _log.warning("%s", message)
