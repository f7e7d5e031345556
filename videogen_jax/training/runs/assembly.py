"""A task from its configuration and the parts it is made of, wherever these come from.

A run has them from a model directory; a plan of a run has shapes in place of arrays.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import DrawSamples, Params, Task
from videogen_jax.training.tasks.autoencoder import AutoencoderTask, AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTask, CascadeTaskConfig
from videogen_jax.training.tasks.temporal_sr import (
    FlowTask,
    FlowTaskConfig,
    RefinerTask,
    RefinerTaskConfig,
)
from videogen_jax.training.tasks.text_encoder import TextEncoderTask, TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTask, TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTask, VideoDecoderTaskConfig

SAMPLE_CLIPS = 8  # validation clips that samples are made of
STANDARDISED_IMAGES = 256  # of which an autoencoder's latents get mean 0 and deviation 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a task is made of beside its configuration; each is asked for only if it is needed."""

    null_tokens_T: np.ndarray  # int32, of the empty prompt
    load: Callable[[str], Params]  # a frozen component, by its name
    start: Callable[[str], Params | None]  # what a warm start begins from; None for ""
    examples: Callable[[int], Mapping[str, np.ndarray]]  # a batch of so many, as the task trains on
    draw: Callable[[Params], DrawSamples]  # how samples are made with the frozen components
    null_text: Params | None = None  # of a latent cache, whose runs need no more of text and pixels


def assemble_task(config: RunConfig, parts: Parts) -> Task:
    """The task of `config.task`'s type."""
    model, task, compute = config.model, config.task, config.compute
    null_tokens = parts.null_tokens_T

    def load(*names: str) -> Params:
        return {name: parts.load(name) for name in names}

    match task:
        case AutoencoderTaskConfig():
            images = parts.examples(STANDARDISED_IMAGES)["video"][:, 0]
            return AutoencoderTask(task, model, images, compute)
        case TextEncoderTaskConfig():
            return TextEncoderTask(task, model, compute)
        case TextToImageTaskConfig():
            frozen = load("text_encoder", "autoencoder")
            draw, start = parts.draw(frozen), parts.start(task.warm_start)
            return TextToImageTask(
                task, model, _in_step(frozen, parts), null_tokens, draw, start, compute
            )
        case CascadeTaskConfig():
            frozen = load("text_encoder", "autoencoder")
            draw, start = parts.draw(frozen), parts.start(task.warm_start)
            return CascadeTask(
                task, model, _in_step(frozen, parts), null_tokens, draw, start, compute
            )
        case FlowTaskConfig():
            frozen = load("autoencoder")
            return FlowTask(task, model, frozen, parts.examples(SAMPLE_CLIPS), compute)
        case RefinerTaskConfig():
            flow = ["flow"] if task.interpolation == "flow" else []
            frozen = load("text_encoder", "autoencoder", *flow)
            draw, start = parts.draw(frozen), parts.start(task.warm_start)
            return RefinerTask(
                task, model, _in_step(frozen, parts), null_tokens, draw, start, compute
            )
        case VideoDecoderTaskConfig():
            frozen = load("autoencoder")
            return VideoDecoderTask(task, model, frozen, parts.examples(SAMPLE_CLIPS), compute)


def _in_step(frozen: Params, parts: Parts) -> Params:
    """What of the frozen components the step needs; a latent cache has what two of them make."""
    if parts.null_text is None:
        return frozen
    others = {name: frozen[name] for name in frozen.keys() - {"text_encoder", "autoencoder"}}
    return {"null_text": parts.null_text, **others}
