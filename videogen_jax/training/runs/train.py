"""Training a run from its configuration.

A run reads the frozen and warm-start components from a model directory, and `export_run` adds its
result there. In this way, the parts of a model train one after the other.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.configs import MODELS
from videogen_jax.data.loader import make_loader
from videogen_jax.errors import UserError
from videogen_jax.paths import as_path, require_reachable
from videogen_jax.training.checkpoints.files import MODEL_DIRECTORY
from videogen_jax.training.latents.opening import cached_source, open_cache
from videogen_jax.training.loop import train
from videogen_jax.training.optim import learning_rate, make_optimizer
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import ModelFrom, RunConfig
from videogen_jax.training.runs.directory import begun_configuration, open_run_directory
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.summary import start_summary
from videogen_jax.training.runs.tokenizer import tokenizer_of
from videogen_jax.training.runs.validation import make_validation
from videogen_jax.training.step import StepOptions, TrainState
from videogen_jax.training.telemetry.code_version import code_version
from videogen_jax.weights import config_file

_log = logging.getLogger(__name__)


def train_run(
    config: RunConfig,
    run_dir: Path,
    model_directory: Path,
    devices: Sequence[Any] | None = None,
    profile: tuple[int, int] | None = None,
    *,
    model_from: ModelFrom = "preset",
) -> TrainState:
    """Trains `config` in `run_dir`, from its newest checkpoint if there is one.

    Args:
        config: the run.
        run_dir: receives `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
            `checkpoints/`.
        model_directory: contains the tokenizer (see `tokenizer_of`), the frozen and the warm-start
            components; see `with_model_of`.
        devices: devices to train on, by default all.
        profile: the first and last step to trace into `profile/`, counted from 1.
        model_from: "dir" trains the model of `model_directory`, whatever its name is.

    Raises:
        UserError: another process trains in `run_dir`, or it belongs to another configuration
            (`directory.MAY_CHANGE` lists what may change), or none of its checkpoints is intact.
            `model_directory` has another model (see `with_model_of`), the latent cache does not
            match the run, or the mesh does not divide devices, batch, frames or parameters. Unless
            the first step succeeds, `run_dir` belongs to no configuration.
        MissingFile: the model directory lacks a component or a tokenizer that the task needs.
    """
    for directory in (run_dir, model_directory):
        require_reachable(directory)
    begun_with = begun_configuration(run_dir)
    agreed = model_from == "dir" or begun_with is not None
    config = with_model_of(config, model_directory, agreed=agreed)
    if is_main():
        _log.info(
            "%s trains %s of the model %r (%s)",
            run_dir,
            config.task.component(),
            config.model.name,
            model_directory,
        )
    with open_run_directory(run_dir, config) as begun:
        return _train(config, run_dir, model_directory, devices, profile, begun)


def _train(
    config: RunConfig,
    run_dir: Path,
    model_directory: Path,
    devices: Sequence[Any] | None,
    profile: tuple[int, int] | None,
    begun: Callable[[], None],
) -> TrainState:
    tokenizer = tokenizer_of(config.model, model_directory)
    cache = open_cache(config, model_directory)
    task = build_task(config, model_directory, tokenizer, cache)
    mesh = sharding.make_mesh(config.mesh, devices)
    check_frames(config, mesh)
    positions = sharding.batch_positions(mesh, config.batch_size)
    check_micro_batch(config, mesh)
    data = make_loader(
        make_source(config, "train") if cache is None else cached_source(config, cache),
        config.batch_size,
        config.seed,
        tokenizer if cache is None else None,
        config.model.text_encoder.max_length,
        num_threads=config.data.num_threads,
        num_workers=config.data.num_workers,
        positions=positions,
    )
    optimizer = make_optimizer(config.optim, config.steps)
    if is_main():
        _log.info("%s", start_summary(config, mesh, run_dir, task))
    return train(
        task,
        optimizer,
        data,
        mesh,
        config.loop,
        run_dir,
        steps=config.steps,
        seed=config.seed,
        mesh_config=config.mesh,
        options=step_options(config),
        profile=profile,
        init_from=as_path(config.init_from) if config.init_from else None,
        validation=make_validation(config, task, tokenizer, mesh),
        about={
            "config": config_file.to_dict(config),
            "code": code_version(),
            MODEL_DIRECTORY: str(model_directory.absolute()),
        },
        begun=begun,
    )


def step_options(config: RunConfig) -> StepOptions:
    """Returns the options of the run's train step."""
    return StepOptions(
        accumulate=config.accumulate,
        freeze=config.optim.freeze,
        learning_rate=learning_rate(config.optim, config.steps),
        max_skipped=config.loop.max_skipped,
    )


def check_micro_batch(config: RunConfig, mesh: Mesh) -> None:
    """Checks that every device has the same share of a micro-batch.

    Raises:
        UserError: the devices that share a batch do not divide a micro-batch.
    """
    sharing = sharding.batch_shares(mesh)
    micro_batch = config.batch_size // config.accumulate
    if config.accumulate > 1 and micro_batch % sharing:
        raise UserError(
            f"batch_size {config.batch_size} in accumulate = {config.accumulate} micro-batches of "
            f"{micro_batch} is not divisible by the {sharing} devices that share a batch"
        )


def check_frames(config: RunConfig, mesh: Mesh) -> None:
    """Raises UserError if the mesh does not divide the frames of a clip that the task splits."""
    sharding.check_frames(mesh, config.task.split_frames(config.data.num_frames))


def with_model_of(config: RunConfig, model_directory: Path, *, agreed: bool = False) -> RunConfig:
    """Returns the run with the model of `model_directory`, if that has a configuration.

    So a preset's task and settings can also train a converted model, such as Stable Diffusion 2.

    Args:
        config: the run.
        model_directory: a model directory, or a folder without a configuration.
        agreed: the user wants the directory's model, also if its name is another one.

    Raises:
        UserError: `config.model` is not a preset, and the directory has another model; the message
            lists the fields that differ. Or the name of the directory's model is another one and
            the user has not agreed.
    """
    path = model_directory / "config.json"
    if not path.exists():
        return config
    model = config_file.load_config(path, ModelConfig)
    if model != config.model and config.model not in MODELS.values():
        differing = config_file.differing_fields(there=model, now=config.model)
        message = f"{path}: the model there is not that of this run; differing fields:"
        raise UserError("\n".join([message, *differing.values()]))
    if model.name != config.model.name and not agreed:
        raise UserError(
            f"{path}: the model there is {model.name!r}, that of the preset is "
            f"{config.model.name!r}; to train {model.name!r} with the preset's other settings, add "
            "--model-from dir, otherwise give another --model-dir"
        )
    return dataclasses.replace(config, model=model)
