"""The training tasks, one file for each part of the model.

A new task is a file here, a line in `TASKS` and a preset in `configs/`.
"""

from videogen_jax.training.task import TaskConfig
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

TASKS: tuple[type[TaskConfig], ...] = (
    AutoencoderTaskConfig,
    TextEncoderTaskConfig,
    TextToImageTaskConfig,
    CascadeTaskConfig,
    FlowTaskConfig,
    RefinerTaskConfig,
    VideoDecoderTaskConfig,
)
