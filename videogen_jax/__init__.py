"""VideoGen (Li et al., 2023) in JAX and Flax: reference-guided text-to-video generation.

from videogen_jax import VideoGen

video = VideoGen.load("shapes")("a red circle moving left", seed=0)
video.save("out.mp4")
"""

from typing import TYPE_CHECKING, Any

# From prompts to videos: VideoGen, its options VideoOptions and ImageOptions, its result Video.
# What a model is: ModelConfig, and MODELS, those that come with the library.
# What is raised for a wrong input: UserError.
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.media.video import Video
from videogen_jax.pipeline.requests.options import ImageOptions, VideoOptions
from videogen_jax.pipeline.videogen import VideoGen

if TYPE_CHECKING:
    from videogen_jax.configs import MODELS

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "DenoiserConfig",
    "ImageOptions",
    "ModelConfig",
    "UserError",
    "Video",
    "VideoGen",
    "VideoOptions",
]


def __getattr__(name: str) -> Any:
    """Loads `MODELS` when it is asked for: beside the models it loads the parts of training."""
    if name != "MODELS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from videogen_jax.configs import MODELS

    return MODELS
