"""The content of a source of Stable Diffusion weights, whatever its format."""

from dataclasses import dataclass
from typing import Literal

from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig
from videogen_jax.weights.files import Tensors
from videogen_jax.weights.rules import Table

Component = Literal["text_encoder", "image_unet", "autoencoder"]
COMPONENTS: tuple[Component, ...] = ("text_encoder", "image_unet", "autoencoder")


@dataclass(frozen=True)
class StableDiffusionConfigs:
    """The configs of Stable Diffusion's networks.

    Attributes:
        text_encoder, unet, autoencoder: Configs of the networks.
        schedule: Noise schedule and prediction type of the UNet's training.
        sample_size: Latents per side in the UNet's training, None if unknown.
        sampler: Sampler of the scheduler's file, with the default number of steps; None if the
            source does not state one.
    """

    text_encoder: TextEncoderConfig
    unet: UNetConfig
    autoencoder: AutoencoderConfig
    schedule: ScheduleConfig
    sample_size: int | None
    sampler: SamplerConfig | None = None

    def __post_init__(self) -> None:
        latents, channels = self.autoencoder.latent_channels, self.unet.in_channels
        if not latents == channels == self.unet.out_channels:
            raise UserError(
                f"the UNet has {channels} input and {self.unet.out_channels} output channels, "
                f"expected the autoencoder's {latents} latent channels: not a text-to-image model"
            )
        if self.unet.cross_attention_dim != self.text_encoder.hidden_size:
            raise UserError(
                f"the UNet attends to text of width {self.unet.cross_attention_dim}, "
                f"the text encoder gives {self.text_encoder.hidden_size}"
            )


@dataclass(frozen=True)
class ComponentSource:
    """The weights of one network.

    Attributes:
        table: The table of their names.
        tensors: The weights, read when accessed.
        name: Their file, for messages and the report.
    """

    table: Table
    tensors: Tensors
    name: str
