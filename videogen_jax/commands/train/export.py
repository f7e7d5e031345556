"""Adds a run's result to a model directory: `videogen export RUN_DIR MODEL_DIR`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.training.runs.export import export_run
from videogen_jax.weights.model_dir import DType


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


call = partial(command, main)
