"""Inputs of the pipeline for the preview samples of several tasks.

Letters: B clips, T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.training.task import TaskContext


def validation_prompts(
    context: TaskContext, cascade: Cascade, examples: Sequence[Mapping[str, Any]]
) -> PromptStates:
    """Encodes the captions of examples, and the empty prompt for guidance."""
    tokens_BT = context.tokenize([example["caption"] for example in examples])
    empty_BT = context.tokenize([""] * len(examples))
    return cascade.encode_prompts(context.components, jnp.asarray(tokens_BT), jnp.asarray(empty_BT))
