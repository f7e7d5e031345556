"""Inputs of the pipeline for the preview samples of several tasks.

Letters: B clips, F frames, H height, W width, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import to_float
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.task import Params, TaskContext


def validation_prompts(
    context: TaskContext, cascade: Cascade, examples: Sequence[Mapping[str, Any]]
) -> PromptStates:
    """Encodes the captions of examples, and the empty prompt for guidance."""
    tokens_BT = context.tokenize([example["caption"] for example in examples])
    empty_BT = context.tokenize([""] * len(examples))
    return cascade.encode_prompts(context.components, jnp.asarray(tokens_BT), jnp.asarray(empty_BT))


@jax.jit(static_argnums=(0, 3))
def encode_clips(
    model: ModelConfig, components: Params, video_BFHWC: np.ndarray, resolution: int
) -> jax.Array:
    """Returns the scaled latents of uint8 clips at `resolution` pixels; see `encode_frames`."""
    return encode_frames(model, components, to_float(jnp.asarray(video_BFHWC)), resolution)
