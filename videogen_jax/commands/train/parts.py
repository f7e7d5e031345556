"""Trains a part of a model: `videogen train PART PRESET --run-dir DIR --model-dir DIR`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from videogen_jax.cli import enable_compilation_cache
from videogen_jax.commands.run_flags import ConfigFile, call_with_run
from videogen_jax.configs import runs_of
from videogen_jax.errors import UserError
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.telemetry.profiler import parse_steps

# What each command trains: `TaskConfig.command` says to which command a task belongs.
PARTS = {
    "text_to_image": "Trains a part of the image model.",
    "cascade": "Trains a stage of the cascade (§3.2).",
    "temporal_sr": "Trains the flow or the refiner (§3.3).",
    "video_decoder": "Trains the decoder (§3.4).",
}


def main(
    config: Annotated[Any, tyro.conf.arg(name="")],
    run_dir: Path,
    model_dir: Path,
    distributed: DistributedConfig = DistributedConfig(),
    profile: str = "",
    config_file: ConfigFile = None,
) -> None:
    """Trains, or continues where the run directory left off.

    Args:
        config: the preset and what is changed of it.
        run_dir: gets checkpoints, metrics and samples; the same line again resumes.
        model_dir: has the tokenizer and the trained components this one needs.
        distributed: how several processes find each other; each is started with the same line.
        profile: START:STOP, steps to trace by JAX's profiler into the run directory.
        config_file: is in `config` already.
    """
    steps = parse_steps(profile) if profile else None
    connect(distributed)
    enable_compilation_cache()
    with ending_at_once():
        train_run(config, run_dir, model_dir, profile=steps)


def call(part: str, prog: str, arguments: Sequence[str]) -> None:
    """Runs `main` with the presets of a part by a command line; exits as `cli.command` does."""
    check = partial(_check_task, part)
    call_with_run(main, runs_of(part), prog, arguments, description=PARTS[part], check=check)


def _check_task(part: str, path: Path, config: RunConfig) -> None:
    """Raises a UserError if a file's run is of another part; names its command."""
    right = config.task.command
    if right != part:
        name, command = type(config.task).__name__, right.replace("_", "-")
        raise UserError(f"{path}: task.type is {name}, which `videogen train {command}` trains")


text_to_image = partial(call, "text_to_image")
cascade = partial(call, "cascade")
temporal_sr = partial(call, "temporal_sr")
video_decoder = partial(call, "video_decoder")
