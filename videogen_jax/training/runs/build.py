"""Building the task of a run, from a model directory or from shapes alone."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.models.components import component_shapes
from videogen_jax.models.features.loading import load_network, network_shapes
from videogen_jax.tokenizer import Tokenizer
from videogen_jax.training.latents.opening import BucketCaches, cached_shapes, text_shapes
from videogen_jax.training.runs.aspect_buckets import check_buckets
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import examples_of
from videogen_jax.training.task import Params, Task, TaskContext
from videogen_jax.weights import model_dir


def build_task(
    config: RunConfig,
    directory: Path,
    tokenizer: Tokenizer,
    cache: LatentCache | BucketCaches | None = None,
) -> Task:
    """Builds the run's task, and loads its frozen and warm-start components.

    Raises:
        MissingFile: the model directory lacks a component.
        UserError: a file is damaged, or the task does not fit the model.
    """

    def warm_start(name: str) -> Params | None:
        return model_dir.open_component(directory, name) if name else None

    return _build(
        config,
        lambda name: model_dir.load_component(directory, name),
        null_text=None if cache is None else cache.text(),
        warm_start=warm_start,
        feature_network=load_network,
        tokenize=lambda texts: tokenizer(list(texts), config.model.text_encoder.max_length),
        training=functools.partial(examples_of, config, "train"),
        validation=functools.partial(examples_of, config, "validation"),
    )


def abstract_task(config: RunConfig) -> Task:
    """Builds the run's task from shapes: it can be traced, but not warm-started or sampled."""

    def no_examples(number: int) -> list[Any]:
        raise RuntimeError("a task that is built from shapes has no examples for samples")

    length = config.model.text_encoder.max_length
    null_text = None
    if config.data.latent_cache:
        null_text = {
            name: jax.ShapeDtypeStruct(shape, np.float32)
            for name, shape in text_shapes(config.model).items()
        }
    return _build(
        config,
        lambda name: component_shapes(config.model, name)[name],
        null_text=null_text,
        warm_start=lambda name: None,
        feature_network=network_shapes,
        tokenize=lambda texts: np.zeros((len(texts), length), np.int32),
        training=no_examples,
        validation=no_examples,
    )


def _build(config: RunConfig, load: Callable[[str], Params], **rest: Any) -> Task:
    check_buckets(config)
    components = {name: load(name) for name in config.task.frozen_components()}
    context = TaskContext(config.model, config.data, config.compute, components, **rest)
    return config.task.build(context)


def batch_shapes(config: RunConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch as the run's loader makes it."""
    data, size = config.data, config.batch_size
    shapes = {"fps": ((), np.float32), "index": ((), np.int32)}
    example = {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
    if data.latent_cache:
        example |= cached_shapes(config)
    else:
        tokens = (config.model.text_encoder.max_length,)
        example["tokens"] = jax.ShapeDtypeStruct(tokens, np.int32)
        example |= config.task.example_shapes(config.model, data)
    return {
        name: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype)
        for name, leaf in example.items()
    }
