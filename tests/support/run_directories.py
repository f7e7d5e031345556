"""A run directory as it is after the first step of a run."""

from pathlib import Path

from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.directory import open_run_directory


def begin_run(run_dir: Path, config: RunConfig) -> None:
    with open_run_directory(run_dir, config) as begun:
        begun()
