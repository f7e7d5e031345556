"""A run from its configuration: the task, its data, its directory; and its export.

A run reads the frozen and warm-start components of a model directory, and `export` adds its own
result there: so the parts of a model train one after the other.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.configs import MODELS
from videogen_jax.data.clips.windows import Part
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.data.loader import Mixture, Source, make_loader
from videogen_jax.data.shapes import sources
from videogen_jax.errors import UserError
from videogen_jax.tokenizer import Tokenizer, load_tokenizer
from videogen_jax.training.checkpoints.files import find_checkpoint, read_weights
from videogen_jax.training.latents.opening import open_cache
from videogen_jax.training.loop import train
from videogen_jax.training.optim import learning_rate, make_optimizer
from videogen_jax.training.runs.assembly import SAMPLE_CLIPS, Parts, assemble_task
from videogen_jax.training.runs.claim import claim, differing_fields
from videogen_jax.training.runs.clips import clip_source, first_examples, shapes_clips
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.samples import cascade_samples, image_samples, refiner_samples
from videogen_jax.training.step import StepOptions, TrainState
from videogen_jax.training.task import DrawSamples, Params, Task
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.temporal_sr import FlowTaskConfig, RefinerTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig
from videogen_jax.training.telemetry.code_version import code_version
from videogen_jax.weights import config_file, model_dir


def train_run(
    config: RunConfig,
    run_dir: Path,
    model_directory: Path,
    devices: Sequence[Any] | None = None,
    profile: tuple[int, int] | None = None,
) -> TrainState:
    """Trains `config` in `run_dir`, from its newest checkpoint if there is one.

    Args:
        config: the run.
        run_dir: gets `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/`, `checkpoints/`.
        model_directory: where tokenizer, frozen and warm-start components are; see `with_model_of`.
        devices: to train on, all by default.
        profile: the first and last step to trace into `profile/`, counted from 1.

    Raises:
        UserError: `run_dir` belongs to another configuration (`claim.MAY_CHANGE` says what may
            change) or none of its checkpoints is intact, `config` changes a model that
            `model_directory` has otherwise, the latent cache is not one of this run, or the mesh
            does not divide devices, batch, frames or parameters.
        MissingFile: the model directory lacks what the task needs.
    """
    config = with_model_of(config, model_directory)
    tokenizer = load_tokenizer(model_directory / "tokenizer")
    cache = open_cache(config, model_directory)
    task = make_task(config, model_directory, tokenizer, cache)
    mesh = sharding.make_mesh(config.mesh, devices)
    check_frames(config, mesh)
    positions = sharding.batch_positions(mesh, config.batch_size)
    check_micro_batch(config, mesh)
    claim(run_dir, config)
    data = make_loader(
        make_source(config, "train") if cache is None else cache,
        config.batch_size,
        config.seed,
        tokenizer if cache is None else None,
        config.model.text_encoder.max_length,
        num_threads=config.data.num_threads,
        positions=positions,
    )
    optimizer = make_optimizer(config.optim, config.steps)
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
        init_from=Path(config.init_from) if config.init_from else None,
        about={"config": config_file.to_dict(config), "code": code_version()},
    )


def step_options(config: RunConfig) -> StepOptions:
    """What the run's step does beyond one batch, one gradient, one update."""
    return StepOptions(
        accumulate=config.accumulate,
        freeze=config.optim.freeze,
        learning_rate=learning_rate(config.optim, config.steps),
        max_skipped=config.loop.max_skipped,
    )


def check_micro_batch(config: RunConfig, mesh: Mesh) -> None:
    """That every device has the same share of a micro-batch.

    Raises:
        UserError: it has not.
    """
    sharing = mesh.shape["data"] * mesh.shape["fsdp"]
    micro_batch = config.batch_size // config.accumulate
    if config.accumulate > 1 and micro_batch % sharing:
        raise UserError(
            f"batch_size {config.batch_size} in accumulate = {config.accumulate} micro-batches of "
            f"{micro_batch} is not divisible by the {sharing} devices that share a batch"
        )


def with_model_of(config: RunConfig, model_directory: Path) -> RunConfig:
    """The run with the model of the directory it trains for, if that has a configuration.

    So a preset's task and settings train on whatever was converted, such as Stable Diffusion 2.

    Raises:
        UserError: `config.model` is no preset but changed by hand, and the directory has another;
            names the fields that differ.
    """
    path = model_directory / "config.json"
    if not path.exists():
        return config
    model = config_file.load_config(path, ModelConfig)
    if model != config.model and config.model not in MODELS.values():
        differing = differing_fields(there=model, now=config.model)
        message = f"{path}: the model there is not the one asked for; differing fields:"
        raise UserError("\n".join([message, *differing.values()]))
    return dataclasses.replace(config, model=model)


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
        model_directory: the one the run was started with; gets the components, and `config.json`.
        dtype: of the files; None is float32.
        ema: the averaged parameters; False takes those of the last step.
        step: of the checkpoint, by default the newest that is intact.

    Returns:
        The names of the components written.

    Raises:
        UserError: the model directory is another model's, or the checkpoint is damaged.
        MissingFile: no run, or no checkpoint in it.
    """
    config = config_file.load_config(run_dir / "config.json", RunConfig)
    checkpoint = find_checkpoint(run_dir, step)
    _write_model_config(model_directory, config.model)
    if not isinstance(config.task, AutoencoderTaskConfig):  # which is measured on its own images
        shapes = dataclasses.replace(config.data, dataset="", mixture=(), latent_cache="")
        config = dataclasses.replace(config, data=shapes)  # the clips may be gone
    task = make_task(config, model_directory, load_tokenizer(model_directory / "tokenizer"))
    abstract = jax.eval_shape(task.init, jax.random.key(0))
    which: Literal["params", "ema"] = "ema" if ema else "params"
    params = read_weights(checkpoint, which, abstract)
    components = task.components(params)
    for name, component in components.items():
        model_dir.save_component(model_directory, name, component, dtype)
    return list(components)


def make_task(
    config: RunConfig, directory: Path, tokenizer: Tokenizer, cache: LatentCache | None = None
) -> Task:
    """The task of `config.task`'s type, with its frozen and warm-start components loaded."""
    model = config.model

    def draw(frozen: Params) -> DrawSamples:
        match config.task:
            case TextToImageTaskConfig():
                return image_samples(model, frozen, tokenizer, _sample_captions(config))
            case CascadeTaskConfig(stage=stage):
                return cascade_samples(model, stage, frozen, tokenizer, _sample_clips(config))
            case RefinerTaskConfig(interpolation=interpolation):
                clips = _sample_clips(config)
                return refiner_samples(model, frozen, tokenizer, clips, interpolation)
            case _:
                raise TypeError(f"{type(config.task).__name__} draws no samples from frozen parts")

    parts = Parts(
        null_tokens_T=tokenizer([""], model.text_encoder.max_length)[0],
        load=lambda name: model_dir.load_component(directory, name),
        start=lambda name: model_dir.open_component(directory, name) if name else None,
        examples=lambda number: _sample_batch(config, number),
        draw=draw,
        null_text=None if cache is None else cache.text(),
    )
    return assemble_task(config, parts)


def make_source(config: RunConfig, split: Part, examples: int | None = None) -> Source | Mixture:
    """The examples that a task of this type trains on, from pixels; `examples` of the shapes."""
    data = config.data
    if data.dataset or data.mixture:
        return clip_source(config, split)
    size = examples or data.examples
    match config.task:
        case FlowTaskConfig():
            return sources.ShapesHighFps(split, size, resolution=data.resolution)
        case VideoDecoderTaskConfig():
            return sources.DegradedClips(shapes_clips(data, split, size), data.degrade)
        case TextEncoderTaskConfig():
            return sources.ContrastedClips(shapes_clips(data, split, size))
        case _:
            return shapes_clips(data, split, size)


def _sample_clips(config: RunConfig) -> Source:
    data = config.data
    if data.dataset or data.mixture:
        return first_examples(clip_source(config, "validation"), SAMPLE_CLIPS)
    return sources.ShapesClips(
        "validation", SAMPLE_CLIPS, resolution=data.resolution, num_frames=data.num_frames
    )


def _sample_captions(config: RunConfig) -> list[str]:
    clips = _sample_clips(config)
    return [clips[i]["caption"] for i in range(len(clips))]


def _sample_batch(config: RunConfig, examples: int = SAMPLE_CLIPS) -> dict[str, np.ndarray]:
    """A batch of validation examples as the task trains on them."""
    source = make_source(config, "validation", examples)
    return next(make_loader(source, examples, config.seed, shuffle=False))


def check_frames(config: RunConfig, mesh: Mesh) -> None:
    """Raises UserError if a clip cannot be spread over the mesh as the task takes it."""
    match config.task:
        case CascadeTaskConfig() | VideoDecoderTaskConfig():
            sharding.check_frames(mesh, config.data.num_frames)
        case RefinerTaskConfig():  # every other frame is denoised
            sharding.check_frames(mesh, config.data.num_frames // 2)


def _write_model_config(directory: Path, model: ModelConfig) -> None:
    path = directory / "config.json"
    if not path.exists():
        config_file.save_config(path, model)
    elif config_file.load_config(path, ModelConfig) != model:
        raise UserError(f"{path}: the model there is not the one of this run ({model.name!r})")


def copy_tokenizer(source: Path, model_directory: Path) -> None:
    """Gives a new model directory its tokenizer files."""
    shutil.copytree(source, model_directory / "tokenizer", dirs_exist_ok=True)
