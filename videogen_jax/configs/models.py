"""Every value: the models by name. What a run of training sets is in `training/runs/config.py`."""

import dataclasses

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.samplers import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig


def _video(unet: UNetConfig, in_channels: int, low_res_noise: bool = False) -> UNetConfig:
    """The image model's UNet as a video model with condition channels."""
    return dataclasses.replace(
        unet, in_channels=in_channels, temporal=True, low_res_noise=low_res_noise
    )


def _cascade(
    image: DenoiserConfig,
    resolutions: tuple[int, ...],
    samplers: tuple[SamplerConfig, ...],
    guidance_scales: tuple[float, ...],
    low_res_noise: int = 0,
) -> tuple[DenoiserConfig, ...]:
    """The stages: the image model's UNet and schedule at each resolution, stage 1 without low-res."""
    latent = image.unet.out_channels
    return tuple(
        DenoiserConfig(
            unet=_video(image.unet, latent * (2 if i == 0 else 3), i > 0 and low_res_noise > 0),
            schedule=image.schedule,
            sampler=sampler,
            resolution=resolution,
            guidance_scale=scale,
            low_res_noise=low_res_noise if i else 0,
        )
        for i, (resolution, sampler, scale) in enumerate(
            zip(resolutions, samplers, guidance_scales, strict=True)
        )
    )


_SD_SAMPLER = SamplerConfig("ddim", num_steps=50)
_SD_IMAGE = DenoiserConfig(UNetConfig(), ScheduleConfig(), _SD_SAMPLER, resolution=512)
_SD_STAGES = _cascade(_SD_IMAGE, (128, 256, 512), (_SD_SAMPLER,) * 3, (7.5,) * 3)

PAPER = ModelConfig(
    name="paper",
    text_encoder=TextEncoderConfig(),
    autoencoder=AutoencoderConfig(),
    image=_SD_IMAGE,
    stages=_SD_STAGES,
    flow=FlowConfig(in_channels=4),
    refiner=dataclasses.replace(_SD_STAGES[-1], guidance_scale=1.0),
)
"""Stable Diffusion 1.5's networks and §3.2's resolutions: 16×16, 32×32 and 64×64 latents."""

_SMALL_IMAGE = DenoiserConfig(
    UNetConfig(
        block_out_channels=(128, 256, 384, 384), num_heads=(4, 8, 12, 12), cross_attention_dim=512
    ),
    ScheduleConfig(),
    _SD_SAMPLER,
    resolution=256,
)
_SMALL_STAGES = _cascade(_SMALL_IMAGE, (64, 128, 256), (_SD_SAMPLER,) * 3, (7.5,) * 3)

SMALL = ModelConfig(
    name="small",
    text_encoder=TextEncoderConfig(
        hidden_size=512, intermediate_size=2048, num_layers=12, num_heads=8
    ),
    autoencoder=AutoencoderConfig(block_out_channels=(64, 128, 256, 256)),
    image=_SMALL_IMAGE,
    stages=_SMALL_STAGES,
    flow=FlowConfig(in_channels=4, encoder_channels=(24, 36, 54, 72), side_channels=24),
    refiner=dataclasses.replace(_SMALL_STAGES[-1], guidance_scale=1.0),
)
"""A quarter of the paper's resolution and a third of its width, for one machine with a few chips."""

# v-prediction with a cosine schedule moved towards noise: a latent of few, large pixels loses its
# layout late, and the layout (which shape, moving where) is what there is to learn.
_SHAPES_SCHEDULE = ScheduleConfig(beta_schedule="cosine", shift=3.0, prediction="v")
_SHAPES_IMAGE = DenoiserConfig(
    UNetConfig(
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 88),
        layers_per_block=1,
        attention_levels=(False, True, True),
        num_heads=(4, 4, 4),
        cross_attention_dim=128,
        norm_groups=8,
    ),
    _SHAPES_SCHEDULE,
    SamplerConfig("dpmpp_2m", num_steps=30, timestep_spacing="linspace"),
    resolution=64,
    guidance_scale=3.0,
)
_SHAPES_STAGES = _cascade(
    _SHAPES_IMAGE,
    (32, 64),
    (
        SamplerConfig("dpmpp_2m", num_steps=30, timestep_spacing="linspace"),
        SamplerConfig("dpmpp_2m", num_steps=12, timestep_spacing="linspace"),
    ),
    (3.0, 1.0),
    low_res_noise=100,
)

SHAPES = ModelConfig(
    name="shapes",
    text_encoder=TextEncoderConfig(
        vocab_size=727,
        max_length=24,
        hidden_size=128,
        intermediate_size=512,
        num_layers=3,
        num_heads=4,
        eos_token_id=726,
    ),
    autoencoder=AutoencoderConfig(
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        norm_groups=4,
        mid_attention=False,
        scaling_factor=1.0,
    ),
    image=_SHAPES_IMAGE,
    stages=_SHAPES_STAGES,
    flow=FlowConfig(in_channels=4, encoder_channels=(24, 36), side_channels=12, stem_stride=1),
    refiner=dataclasses.replace(
        _SHAPES_STAGES[-1],
        guidance_scale=1.0,
        sampler=SamplerConfig("dpmpp_2m", num_steps=8, timestep_spacing="linspace"),
    ),
    temporal_sr_rounds=1,
    lowpass_factor=2,
)
"""The model that ships: 16 frames of 64×64 pixels, latents 8×8 → 16×16, trained on moving shapes."""

_TINY_IMAGE = dataclasses.replace(
    _SHAPES_IMAGE,
    unet=UNetConfig(
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        attention_levels=(True, False),
        num_heads=(2, 2),
        cross_attention_dim=16,
        norm_groups=8,
    ),
    sampler=SamplerConfig("ddim", num_steps=4, timestep_spacing="linspace", steps_offset=0),
    resolution=32,
)
_TINY_STAGES = _cascade(_TINY_IMAGE, (8, 16, 32), (_TINY_IMAGE.sampler,) * 3, (3.0,) * 3, 100)

TINY = ModelConfig(
    name="tiny",
    text_encoder=TextEncoderConfig(
        vocab_size=727,
        max_length=24,
        hidden_size=16,
        intermediate_size=32,
        num_layers=2,
        num_heads=2,
        eos_token_id=726,
    ),
    autoencoder=AutoencoderConfig(
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_groups=2,
        scaling_factor=1.0,
    ),
    image=_TINY_IMAGE,
    stages=_TINY_STAGES,
    flow=FlowConfig(in_channels=4, encoder_channels=(8, 12), side_channels=4, stem_stride=1),
    refiner=dataclasses.replace(_TINY_STAGES[-1], guidance_scale=1.0),
    num_frames=4,
    temporal_sr_rounds=1,
    lowpass_factor=2,
)
"""Every part, as small as it gets: what the tests run."""

MODELS = {model.name: model for model in (PAPER, SMALL, SHAPES, TINY)}
