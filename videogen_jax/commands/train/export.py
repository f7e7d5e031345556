"""Adds a run's result to a model directory: `videogen export RUN_DIR MODEL_DIR`."""

import shlex
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import tyro

from videogen_jax.cli import command
from videogen_jax.config import ModelConfig
from videogen_jax.models.components import IMAGE_COMPONENTS
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.training.runs.export import export_run
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.model_dir import DType, list_components


def main(
    run_dir: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    ema: bool = True,
    step: int | None = None,
    best: bool = False,
    dtype: DType | None = None,
    source: Path | None = None,
) -> None:
    """Writes the parameters of a checkpoint as components of a model directory.

    A new directory also receives the tokenizer and the other components of the model.

    Args:
        run_dir: the run directory of a training script.
        model_dir: the model directory that the run was started with, or a new directory.
        ema: export the averaged parameters; --no-ema exports those of the step itself.
        step: step of the checkpoint; by default the newest intact one.
        best: export the checkpoint with the lowest validation loss, or --loop.best-metric.
        dtype: type of the weights on disk; by default float32.
        source: model directory that a new one is copied from; by default the run's own.
    """
    for name in export_run(run_dir, model_dir, dtype, ema=ema, step=step, best=best, source=source):
        print(f"{model_dir / name}.safetensors")


def next_step(directory: Path, prog: str) -> str:
    """Returns the command that samples from a model directory, or what is missing for it.

    Args:
        directory: the model directory.
        prog: name by which the user called the export, whose form the command has.
    """
    scripts = prog.startswith("python -m")
    sample, image = ("python -m sample.video", "python -m sample.image")
    if not scripts:
        sample, image = "videogen sample", "videogen image"
    present, where = list_components(directory), shlex.quote(str(directory))
    config = load_config(directory / "config.json", ModelConfig)
    needed = make_request(config, "").components(generates_reference=True)
    missing = [name for name in needed if name not in present]
    if not missing:
        return f'complete; next: {sample} "PROMPT" --model {where}'
    text = f"videos still need {', '.join(missing)}"
    if set(IMAGE_COMPONENTS) <= set(present):
        text += f'; images already: {image} "PROMPT" --model {where}'
    return text


def call(prog: str, arguments: Sequence[str] | None = None) -> None:
    """Parses the command line, exports, and says what is next; exits as `cli.command` does."""

    @wraps(main)
    def with_last_line(run_dir: Path, model_dir: Path, /, **options: Any) -> None:
        main(run_dir, model_dir, **options)
        print(f"{model_dir}: {next_step(model_dir, prog)}")

    command(with_last_line, prog, arguments, buckets=("run_dir", "model_dir", "source"))
