"""Exporting the result of a run to a model directory."""

import logging
from pathlib import Path
from typing import Any, Literal

import jax

from videogen_jax.atomic import replacing
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path, copy_folder, require_reachable
from videogen_jax.pipeline.model_files import is_shipped
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.checkpoints.files import (
    MODEL_DIRECTORY,
    find_best,
    find_checkpoint,
    read_about,
    read_weights,
)
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import Params
from videogen_jax.weights import config_file, model_dir
from videogen_jax.weights.manifest import MANIFEST, record_files

_log = logging.getLogger(__name__)


def export_run(
    run_dir: Path,
    model_directory: Path,
    dtype: Any = None,
    *,
    ema: bool = True,
    step: int | None = None,
    best: bool = False,
    source: Path | None = None,
) -> list[str]:
    """Writes the parameters of a run's checkpoint into a model directory.

    A new directory becomes a copy of `source` with these parameters. To an existing one, the
    tokenizer and the frozen components of the run are added if it lacks them.

    Args:
        run_dir: a run directory of `train_run`.
        model_directory: a new directory, or a directory of the run's model.
        dtype: dtype of the exported components' files; None is float32.
        ema: write the averaged parameters; if False, those of the last step.
        step: step of the checkpoint, by default the newest intact one.
        source: the model directory to copy from; by default the one that the run trained with.

    Returns:
        The names of the exported components.

    Raises:
        UserError: the model directory is that of a shipped model, has another model, or is another
            folder that is not empty; or the checkpoint is damaged.
        MissingFile: there is no run, it has no checkpoint, or the tokenizer or a component is
            missing in both directories.
    """
    for directory in (run_dir, model_directory):
        require_reachable(directory)
    config = config_file.load_config(run_dir / "config.json", RunConfig)
    _check_target(model_directory, config.model)
    checkpoint = _best(run_dir, config, step) if best else find_checkpoint(run_dir, step)
    missing = _missing(model_directory, config)
    if source is None and missing:
        source = _recorded_source(checkpoint, model_directory, missing)
    base = source if source is not None and missing else model_directory
    _check_model(base, config.model)
    task = build_task(config, base, load_tokenizer(base / "tokenizer"))
    abstract = jax.eval_shape(task.init, jax.random.key(0))
    which: Literal["params", "ema"] = "ema" if ema else "params"
    components = task.components(read_weights(checkpoint, which, abstract))
    wanted = missing if _contents(model_directory) else model_dir.list_components(base)
    copied = [name for name in wanted if name != "tokenizer" and name not in components]
    if not model_directory.exists() or not any(model_directory.iterdir()):
        with replacing(model_directory, last=MANIFEST) as temporary:
            _write(temporary, config.model, components, dtype, base, copied)
    else:
        _write(model_directory, config.model, components, dtype, base, copied)
    return list(components)


def _best(run_dir: Path, config: RunConfig, step: int | None) -> Path:
    if step is not None:
        raise UserError(f"the best checkpoint and that of step {step} are both asked for")
    checkpoint, value = find_best(run_dir, config.loop.best)
    _log.info("step %s has the lowest %s, %g", checkpoint.name, config.loop.best, value)
    return checkpoint


def _check_target(directory: Path, model: ModelConfig) -> None:
    """Raises UserError if nothing may be exported to a directory."""
    if is_shipped(directory):
        raise UserError(
            f"{directory} is the model that ships with this package; expected another directory, "
            "such as a new one"
        )
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file, expected a model directory or a new directory")
    _check_model(directory, model)
    if directory.exists() and any(directory.iterdir()) and not _contents(directory):
        if not (directory / "config.json").exists():
            raise UserError(
                f"{directory} is not a model directory: it has no config.json, tokenizer/ or "
                "component; expected one, or the name of a new directory"
            )


def _check_model(directory: Path, model: ModelConfig) -> None:
    path = directory / "config.json"
    if path.exists() and config_file.load_config(path, ModelConfig) != model:
        raise UserError(f"{path}: the model there is not the one of this run ({model.name!r})")


def _contents(directory: Path) -> list[str]:
    """Returns the names of a directory's components, and "tokenizer" if it has one."""
    if not directory.exists():
        return []
    tokenizer = ["tokenizer"] if (directory / "tokenizer").is_dir() else []
    return tokenizer + model_dir.list_components(directory)


def _missing(directory: Path, config: RunConfig) -> list[str]:
    """Returns which of the tokenizer and the run's frozen components a directory lacks."""
    present = _contents(directory)
    needed = ("tokenizer", *config.task.frozen_components())
    return [name for name in needed if name not in present]


def _recorded_source(checkpoint: Path, directory: Path, missing: list[str]) -> Path:
    """Returns the model directory that a run trained with, from which to copy what is missing."""
    recorded = read_about(checkpoint).get(MODEL_DIRECTORY)
    if recorded is None or not as_path(recorded).is_dir():
        where = "is not recorded in its checkpoint" if recorded is None else f"{recorded} is gone"
        raise MissingFile(
            f"{directory} has no {', '.join(missing)}, and the model directory that the run "
            f"trained with {where}: name a directory that has them with --source"
        )
    return as_path(recorded)


def _write(
    directory: Path,
    model: ModelConfig,
    components: dict[str, Params],
    dtype: Any,
    base: Path,
    copied: list[str],
) -> None:
    if not (directory / "tokenizer").is_dir():
        copy_tokenizer(base / "tokenizer", directory)
    for name in copied:
        component = model_dir.load_component(base, name, None)
        model_dir.save_component(directory, name, component)
    for name, component in components.items():
        model_dir.save_component(directory, name, component, dtype)
    if not (directory / "config.json").exists():
        config_file.save_config(directory / "config.json", model)
    record_files(directory)


def copy_tokenizer(source: Path, model_directory: Path) -> None:
    """Copies tokenizer files to a model directory."""
    copy_folder(source, model_directory / "tokenizer")
