"""Trains a part of a model: `videogen train PART PRESET --run-dir DIR --model-dir DIR`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from videogen_jax.cli import enable_compilation_cache
from videogen_jax.commands.run_flags import ConfigFile, call_with_run
from videogen_jax.configs.runs import runs_of
from videogen_jax.errors import UserError
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.run import train_run
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.temporal_sr import FlowTaskConfig, RefinerTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig
from videogen_jax.training.telemetry.profiler import parse_steps


class Part(NamedTuple):
    """What a command trains."""

    runs: Mapping[str, RunConfig]  # its presets
    description: str


PARTS = {
    "text-to-image": Part(
        runs_of(AutoencoderTaskConfig, TextEncoderTaskConfig, TextToImageTaskConfig),
        "Trains a part of the image model.",
    ),
    "cascade": Part(runs_of(CascadeTaskConfig), "Trains a stage of the cascade (§3.2)."),
    "temporal-sr": Part(
        runs_of(FlowTaskConfig, RefinerTaskConfig), "Trains the flow or the refiner (§3.3)."
    ),
    "video-decoder": Part(runs_of(VideoDecoderTaskConfig), "Trains the decoder (§3.4)."),
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
    runs, description = PARTS[part]
    check = partial(_check_task, part)
    call_with_run(main, runs, prog, arguments, description=description, check=check)


def _check_task(part: str, path: Path, config: RunConfig) -> None:
    """Raises a UserError if a file's run is of another part; names its command."""
    task = type(config.task)
    right = next(
        name
        for name, (runs, _) in PARTS.items()
        if task in {type(run.task) for run in runs.values()}
    )
    if right != part:
        raise UserError(
            f"{path}: task.type is {task.__name__}, which `videogen train {right}` trains"
        )


text_to_image = partial(call, "text-to-image")
cascade = partial(call, "cascade")
temporal_sr = partial(call, "temporal-sr")
video_decoder = partial(call, "video-decoder")
