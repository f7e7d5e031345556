"""VideoGen (Li et al., 2023) in JAX and Flax: reference-guided text-to-video generation.

from videogen_jax import VideoGen

video = VideoGen.load("shapes")("a red circle moving left", seed=0)
video.save("out.mp4")

A name below is imported, and JAX with it, when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

# From prompts to videos: VideoGen, its options VideoOptions and ImageOptions, its result Video, and
# what its callback receives, Progress.
# On one's own videos: InterpolateOptions and RestoreOptions.
# Configurations: ModelConfig, its part DenoiserConfig, and MODELS, the presets of the library.
# The exceptions for invalid input, UserError, and to end a call in a callback, StopSampling.
if TYPE_CHECKING:
    from videogen_jax.config import DenoiserConfig, ModelConfig
    from videogen_jax.configs import MODELS
    from videogen_jax.errors import UserError
    from videogen_jax.media.video import Video
    from videogen_jax.pipeline.interrupts import StopSampling
    from videogen_jax.pipeline.progress import Progress
    from videogen_jax.pipeline.requests.options import (
        ImageOptions,
        InterpolateOptions,
        RestoreOptions,
        VideoOptions,
    )
    from videogen_jax.pipeline.videogen import VideoGen

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "DenoiserConfig",
    "ImageOptions",
    "InterpolateOptions",
    "ModelConfig",
    "Progress",
    "RestoreOptions",
    "StopSampling",
    "UserError",
    "Video",
    "VideoGen",
    "VideoOptions",
]

_MODULES = {
    "MODELS": "configs",
    "DenoiserConfig": "config",
    "ImageOptions": "pipeline.requests.options",
    "InterpolateOptions": "pipeline.requests.options",
    "ModelConfig": "config",
    "Progress": "pipeline.progress",
    "RestoreOptions": "pipeline.requests.options",
    "StopSampling": "pipeline.interrupts",
    "UserError": "errors",
    "Video": "media.video",
    "VideoGen": "pipeline.videogen",
    "VideoOptions": "pipeline.requests.options",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
