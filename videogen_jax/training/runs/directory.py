"""The configuration of a run directory; a run that continues there must have the same one."""

import re
from pathlib import Path

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.training.checkpoints.files import FOLDER, find_checkpoint, read_about
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.weights import config_file

# What may differ when a run continues: its length, its devices, and what it reports.
MAY_CHANGE = re.compile(
    r"steps|mesh/.*|data/num_threads|data/max_damaged"
    r"|loop/(log_every|sample_every|checkpoint_every|steps_during_save|keep_checkpoints|keep_best"
    r"|best_metric|max_skipped)"
)


def open_run_directory(run_dir: Path, config: RunConfig) -> None:
    """Writes the run's configuration, or checks that the run directory has the same one.

    Raises:
        UserError: the directory has another one; the message lists the fields that differ and must
            not (see `MAY_CHANGE`).
    """
    path = run_dir / "config.json"
    there = _begun_with(run_dir)
    if there is not None:
        lines = [
            line
            for field, line in differing_fields(there=there, now=config).items()
            if not MAY_CHANGE.fullmatch(field)
        ]
        if lines:
            message = f"{path}: this run was begun with another configuration; differing fields:"
            raise UserError("\n".join([message, *lines]))
    if is_main() and (there != config or not path.exists()):
        run_dir.mkdir(parents=True, exist_ok=True)
        config_file.save_config(path, config)


def _begun_with(run_dir: Path) -> RunConfig | None:
    """Returns the configuration of the run in `run_dir`; without its file, from a checkpoint."""
    path = run_dir / "config.json"
    if path.exists():
        return config_file.load_config(path, RunConfig)
    if not any(part.name.isdigit() for part in (run_dir / FOLDER).glob("*")):
        return None
    checkpoint = find_checkpoint(run_dir)
    return config_file.from_dict(read_about(checkpoint)["config"], RunConfig, where=str(checkpoint))


def differing_fields(*, there: object, now: object) -> dict[str, str]:
    """Returns a line for each field in which two configurations of one type differ."""
    old, new = (trees.flatten(config_file.to_dict(config)) for config in (there, now))
    return {
        field: f"  {field}: {old.get(field)!r} there, {new.get(field)!r} now"
        for field in sorted({*old, *new})
        if old.get(field) != new.get(field)
    }
