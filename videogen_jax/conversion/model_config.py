"""The configuration of a model whose networks are those of a Stable Diffusion model."""

from dataclasses import replace

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.errors import UserError
from videogen_jax.weights.stable_diffusion.sources import StableDiffusionConfigs


def with_stable_diffusion(base: ModelConfig, configs: StableDiffusionConfigs) -> ModelConfig:
    """Returns `base` with Stable Diffusion's networks, and video UNets for a warm start from them.

    The stages and the refiner keep their own resolutions, guidance, conditions, temporal layers and
    shift of the schedule, and take the sizes and the prediction type of Stable Diffusion's UNet.
    The image model takes the resolution of that UNet's training, or `base`'s if it is unknown. All
    of them take Stable Diffusion's sampler, if it is known, with their own number of steps.

    Raises:
        UserError: `base` has another number of latent channels, or resolutions that the networks
            cannot have.
    """
    latents = configs.autoencoder.latent_channels
    if base.autoencoder.latent_channels != latents:
        raise UserError(
            f"the autoencoder has {latents} latent channels, "
            f"configuration {base.name!r} is for {base.autoencoder.latent_channels}"
        )

    def sampled(denoiser: DenoiserConfig) -> SamplerConfig:
        sampler = configs.sampler or denoiser.sampler
        return replace(sampler, num_steps=denoiser.sampler.num_steps)

    image = replace(
        base.image, unet=configs.unet, schedule=configs.schedule, sampler=sampled(base.image)
    )
    if configs.sample_size is not None:
        image = replace(image, resolution=configs.sample_size * configs.autoencoder.factor)

    def widened(denoiser: DenoiserConfig) -> DenoiserConfig:
        unet = replace(
            configs.unet,
            in_channels=denoiser.unet.in_channels,
            temporal=denoiser.unet.temporal,
            frame_embedding=denoiser.unet.frame_embedding,
            low_res_noise=denoiser.unet.low_res_noise,
        )
        schedule = replace(configs.schedule, shift=denoiser.schedule.shift)
        return replace(denoiser, unet=unet, schedule=schedule, sampler=sampled(denoiser))

    return replace(
        base,
        text_encoder=configs.text_encoder,
        autoencoder=configs.autoencoder,
        image=image,
        stages=tuple(widened(stage) for stage in base.stages),
        refiner=widened(base.refiner),
    )
