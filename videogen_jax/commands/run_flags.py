"""The command line that the training scripts share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from videogen_jax.cli import command, enable_compilation_cache
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.telemetry.profiler import parse_steps


def train_door(runs: Mapping[str, RunConfig], prog: str, description: str) -> None:
    """`PRESET --run-dir DIR --model-dir DIR [--any.field VALUE …]`, then trains.

    Args:
        runs: the presets this script offers, by name.
        prog: how the script is called, for `--help`.
        description: what it trains, for `--help`.
    """

    def main(
        config: Annotated[Any, tyro.conf.arg(name="")],
        run_dir: Path,
        model_dir: Path,
        distributed: DistributedConfig = DistributedConfig(),
        profile: str = "",
    ) -> None:
        """Trains, or continues where the run directory left off.

        Args:
            config: the preset and what is changed of it.
            run_dir: gets checkpoints, metrics and samples; the same line again resumes.
            model_dir: has the tokenizer and the trained components this one needs.
            distributed: how several processes find each other; each is started with the same line.
            profile: START:STOP, steps to trace by JAX's profiler into the run directory.
        """
        steps = parse_steps(profile) if profile else None
        connect(distributed)
        enable_compilation_cache()
        with ending_at_once():
            train_run(config, run_dir, model_dir, profile=steps)

    call_with_preset(main, runs, prog, description)


def call_with_preset(
    main: Callable[..., object], runs: Mapping[str, RunConfig], prog: str, description: str
) -> None:
    """Calls `main(config, …)` by the command line: a preset's name, its fields, `main`'s arguments."""
    preset: Any = tyro.extras.subcommand_type_from_defaults(dict(runs))
    main.__annotations__["config"] = Annotated[preset, tyro.conf.arg(name="")]
    options = (tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs)
    command(main, prog, description=description, config=options)
