"""Trains a part of a model: `videogen train PART PRESET --run-dir DIR --model-dir DIR`."""

import shlex
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import tyro

from videogen_jax.commands.run_flags import ConfigFile, call_with_run
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.configs import runs_of
from videogen_jax.errors import UserError
from videogen_jax.pipeline.model_files import is_shipped
from videogen_jax.training.processes.distributed import DistributedConfig, connect, is_main
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.training.runs.config import ModelFrom, RunConfig
from videogen_jax.training.telemetry.profiler import parse_steps

# The commands by name, with their descriptions. `TaskConfig.command` names a task's command.
PARTS = {
    "text_to_image": "Trains a part of the image model.",
    "cascade": "Trains a stage of the cascade (§3.2).",
    "temporal_sr": "Trains the flow or the refiner (§3.3).",
    "video_decoder": "Trains the decoder (§3.4).",
}


def train_run(*arguments: Any, **options: Any) -> None:
    """Calls `training.runs.train.train_run`; `--help` must not wait for Orbax and optax."""
    from videogen_jax.training.runs import train

    train.train_run(*arguments, **options)


def main(
    config: Annotated[Any, tyro.conf.arg(name="")],
    run_dir: Path,
    model_dir: Path,
    distributed: DistributedConfig = DistributedConfig(),
    model_from: ModelFrom = "preset",
    profile: str = "",
    config_file: ConfigFile = None,
) -> None:
    """Trains a part of a model, or resumes the run in the run directory.

    Args:
        config: the preset and the fields that override it.
        run_dir: folder for checkpoints, metrics and samples; the same command resumes.
        model_dir: folder of the tokenizer and the trained components that this part needs.
        model_from: dir trains the model of MODEL_DIR, also if it is not that of the preset, which
            then has the other settings only.
        distributed: how several processes connect; each is started with the same command.
        profile: START:STOP, steps to trace with JAX's profiler; traces go to the run directory.
        config_file: already merged into `config`.
    """
    steps = parse_steps(profile) if profile else None
    connect(distributed)
    enable_compilation_cache()
    with ending_at_once():
        train_run(config, run_dir, model_dir, profile=steps, model_from=model_from)


def call(part: str, prog: str, arguments: Sequence[str]) -> None:
    """Parses a command line with a part's presets, runs `main`, and exits as `cli.command` does.

    Without any arguments, it prints the presets.
    """
    runs, check = runs_of(part), partial(_check_task, part)
    call_with_run(
        _saying_what_is_next(prog), runs, prog, arguments, description=PARTS[part], check=check
    )


def _saying_what_is_next(prog: str) -> Callable[..., None]:
    """Returns `main` followed by a line that says where the results are and how to export them."""

    @wraps(main)
    def with_last_line(config: RunConfig, run_dir: Path, model_dir: Path, **options: Any) -> None:
        main(config, run_dir, model_dir, **options)
        if not is_main():
            return
        export = "python -m train.export" if prog.startswith("python -m") else "videogen export"
        target = "NEW_MODEL_DIR" if is_shipped(model_dir) else shlex.quote(str(model_dir))
        print(
            f"{run_dir} has metrics.jsonl, samples/ and checkpoints/; next: "
            f"{export} {shlex.quote(str(run_dir))} {target}",
            flush=True,
        )

    return with_last_line


def _check_task(part: str, path: Path, config: RunConfig) -> None:
    """Raises a UserError if a file's run trains another part; the message names its command."""
    right = config.task.command
    if right != part:
        name, command = type(config.task).__name__, right.replace("_", "-")
        raise UserError(f"{path}: task.type is {name}, which `videogen train {command}` trains")


text_to_image = partial(call, "text_to_image")
cascade = partial(call, "cascade")
temporal_sr = partial(call, "temporal_sr")
video_decoder = partial(call, "video_decoder")
