"""Run directories: one process at a time, and one configuration.

A run that continues must have the configuration with which it was begun.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from videogen_jax.errors import UserError
from videogen_jax.locking import hold_lock
from videogen_jax.paths import is_remote
from videogen_jax.training.checkpoints.files import FOLDER, find_checkpoint, read_about
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.weights import config_file

LOCK = "lock"  # in a run directory
# What may differ when a run continues: its length, its devices and kernels, and what it reports.
MAY_CHANGE = re.compile(
    r"steps|mesh/.*|model/.*/attention|data/num_(threads|workers)|data/max_damaged"
    r"|loop/(log_every|sample_every|checkpoint_every|steps_during_save|keep_checkpoints|keep_best"
    r"|best_metric|max_skipped|validate_every)"
)
# What may differ until the run validates: then its values would not be comparable.
VALIDATION = re.compile("validation/.*")


@contextlib.contextmanager
def open_run_directory(run_dir: Path, config: RunConfig) -> Iterator[Callable[[], None]]:
    """Locks a run directory and checks its configuration; yields a function that writes it.

    So a run that fails before it calls the function can be started again with any configuration. If
    nothing has been written, the directory is not created.

    Raises:
        UserError: another process trains there, a value of `config` does not fit its field's type,
            or as `check_run_directory`.
    """
    config_file.from_dict(config_file.to_dict(config), RunConfig, where=str(run_dir))
    if not is_main():  # of several processes, only the main one writes there
        check_run_directory(run_dir, config)
        yield lambda: None
        return
    created = not run_dir.exists()
    try:
        with hold_lock(run_dir / LOCK, f"the run directory {run_dir}"):
            check_run_directory(run_dir, config)
            yield functools.partial(_write, run_dir / "config.json", config)
    finally:
        if created and not is_remote(run_dir) and run_dir.is_dir() and not any(run_dir.iterdir()):
            run_dir.rmdir()


def check_run_directory(run_dir: Path, config: RunConfig) -> None:
    """Checks that the run in a directory, if there is one, was begun with a configuration.

    Raises:
        UserError: the directory has another one; the message lists the fields that differ and must
            not (see `MAY_CHANGE`).
    """
    there = begun_configuration(run_dir)
    if there is None:
        return
    validated = there.loop.validate_every
    lines = [
        line
        for field, line in config_file.differing_fields(there=there, now=config).items()
        if not MAY_CHANGE.fullmatch(field) and (validated or not VALIDATION.fullmatch(field))
    ]
    if lines:
        path = run_dir / "config.json"
        message = f"{path}: this run was begun with another configuration; differing fields:"
        raise UserError("\n".join([message, *lines]))


def _write(path: Path, config: RunConfig) -> None:
    if not path.exists() or config_file.load_config(path, RunConfig) != config:
        config_file.save_config(path, config)


def begun_configuration(run_dir: Path) -> RunConfig | None:
    """Returns the configuration of the run in `run_dir`; without its file, from a checkpoint."""
    path = run_dir / "config.json"
    if path.exists():
        return config_file.load_config(path, RunConfig)
    if not any(part.name.isdigit() for part in (run_dir / FOLDER).glob("*")):
        return None
    checkpoint = find_checkpoint(run_dir)
    return config_file.from_dict(read_about(checkpoint)["config"], RunConfig, where=str(checkpoint))
