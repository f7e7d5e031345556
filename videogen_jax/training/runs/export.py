"""Exporting the result of a run to a model directory."""

import shutil
from pathlib import Path
from typing import Any, Literal

import jax

from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.checkpoints.files import find_checkpoint, read_weights
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.weights import config_file, model_dir
from videogen_jax.weights.manifest import record_files


def export_run(
    run_dir: Path,
    model_directory: Path,
    dtype: Any = None,
    *,
    ema: bool = True,
    step: int | None = None,
) -> list[str]:
    """Writes the parameters of a run's checkpoint into a model directory.

    Args:
        run_dir: a run directory of `train_run`.
        model_directory: the one the run was started with; the components and `config.json` are
            written there.
        dtype: dtype of the files; None is float32.
        ema: write the averaged parameters; if False, those of the last step.
        step: step of the checkpoint, by default the newest intact one.

    Returns:
        The names of the components written.

    Raises:
        UserError: the model directory has another model, or the checkpoint is damaged.
        MissingFile: there is no run, or it has no checkpoint.
    """
    config = config_file.load_config(run_dir / "config.json", RunConfig)
    checkpoint = find_checkpoint(run_dir, step)
    _write_model_config(model_directory, config.model)
    task = build_task(config, model_directory, load_tokenizer(model_directory / "tokenizer"))
    abstract = jax.eval_shape(task.init, jax.random.key(0))
    which: Literal["params", "ema"] = "ema" if ema else "params"
    params = read_weights(checkpoint, which, abstract)
    components = task.components(params)
    for name, component in components.items():
        model_dir.save_component(model_directory, name, component, dtype)
    record_files(model_directory)
    return list(components)


def _write_model_config(directory: Path, model: ModelConfig) -> None:
    path = directory / "config.json"
    if not path.exists():
        config_file.save_config(path, model)
    elif config_file.load_config(path, ModelConfig) != model:
        raise UserError(f"{path}: the model there is not the one of this run ({model.name!r})")


def copy_tokenizer(source: Path, model_directory: Path) -> None:
    """Copies tokenizer files to a model directory."""
    shutil.copytree(source, model_directory / "tokenizer", dirs_exist_ok=True)
