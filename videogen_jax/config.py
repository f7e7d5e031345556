"""The configuration of a whole model, stored as `config.json` in a model directory."""

import dataclasses

from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.errors import UserError, require_positive
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """One diffusion model: its network, its noise schedule and the defaults of sampling."""

    unet: UNetConfig
    schedule: ScheduleConfig
    sampler: SamplerConfig
    resolution: int  # pixels per side; latents have resolution / autoencoder.factor
    guidance_scale: float = 7.5
    low_res_noise: int = 0  # timestep to which the low-res latent is noised in sampling


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A whole VideoGen model: the configuration of every part.

    `stages` are those of the cascade in order, each at twice the resolution of the previous one
    (§3.2).
    """

    name: str
    text_encoder: TextEncoderConfig
    autoencoder: AutoencoderConfig
    image: DenoiserConfig
    stages: tuple[DenoiserConfig, ...]
    flow: FlowConfig
    refiner: DenoiserConfig
    num_frames: int = 16
    fps: float = 8.0  # default frame rate of the cascade's clip
    temporal_sr_rounds: int = 3  # default; each round makes 2N − 1 frames of N
    lowpass_factor: int = 4  # temporal SR keeps the warped latent's frequencies below 1/factor

    def __post_init__(self):
        require_positive(self, "num_frames", "lowpass_factor")
        for i, (low, high) in enumerate(zip(self.stages, self.stages[1:], strict=False), start=1):
            if high.resolution != 2 * low.resolution:
                raise UserError(
                    f"ModelConfig.stages: stage {i + 1} has resolution {high.resolution}, "
                    f"expected twice stage {i}'s {low.resolution}"
                )
        for denoiser in (self.image, self.refiner, *self.stages):
            require_positive(denoiser, "resolution")
            multiple = self.size_multiple(denoiser)
            if denoiser.resolution % multiple:
                levels = len(denoiser.unet.block_out_channels)
                raise UserError(
                    f"ModelConfig: resolution {denoiser.resolution} is not divisible by {multiple} "
                    f"(autoencoder factor {self.autoencoder.factor}, {levels} UNet levels)"
                )

    def size_multiple(self, denoiser: DenoiserConfig) -> int:
        """Returns the pixels of which a diffusion model's height and width must be multiples."""
        return self.autoencoder.factor * 2 ** (len(denoiser.unet.block_out_channels) - 1)

    def latent_size(self, resolution: int) -> int:
        """Returns the latents per side at `resolution` pixels per side."""
        return resolution // self.autoencoder.factor
