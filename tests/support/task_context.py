"""Contexts from which tests build tasks without a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.micro_model import TOKENIZER
from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.training.task import ComputeConfig, TaskContext


def task_context(
    model: ModelConfig,
    components: Any = None,
    *,
    warm_start: Any = None,
    feature_network: Any = None,
    compute: ComputeConfig = ComputeConfig(),
    examples: Sequence[Mapping[str, Any]] = (),
    training: Sequence[Mapping[str, Any]] | None = None,
    data: DataConfig = DataConfig(),
) -> TaskContext:
    """Returns a context with given components, warm start, examples and data.

    `examples` are for validation; training has the same ones unless `training` is not None.
    """
    return TaskContext(
        model,
        data,
        compute,
        components or {},
        null_text=None,
        warm_start=lambda name: warm_start,
        feature_network=lambda component, directory: feature_network,
        tokenize=lambda texts: TOKENIZER(list(texts), model.text_encoder.max_length),
        training=lambda number: examples if training is None else training,
        validation=lambda number: examples,
    )


def examples_of(batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the examples of a batch."""
    size = len(next(iter(batch.values())))
    return [{name: array[i] for name, array in batch.items()} for i in range(size)]
