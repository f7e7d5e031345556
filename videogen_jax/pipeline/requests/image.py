"""Requests of `VideoGen.images`: checked options, completed with the model's own values.

Letters: B prompts, h height and w width of the latents, Z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.errors import UserError
from videogen_jax.media.fitting import Fit
from videogen_jax.pipeline.requests.checks import (
    check_choice,
    check_guidance,
    check_number,
    check_prompts,
    check_strength,
    negative_prompts,
)
from videogen_jax.pipeline.requests.options import ImageOptions
from videogen_jax.pipeline.requests.sizes import Size, image_size
from videogen_jax.pipeline.requests.video import check_steps, seeds_of, with_sampler

_STRENGTH = 0.8  # diffusers' default


@dataclass(frozen=True)
class ImageRequest:
    """The checked options of a call of `VideoGen.images`, completed with the model's own values.

    Attributes:
        prompts: the texts, at least one.
        negative_prompts: one for each prompt.
        seeds: one for each prompt.
        options: the options as passed; for fields that may be None, use the values below.
        sampler: sampler of the image model.
        steps: steps of the sampler.
        guidance: classifier-free guidance scale.
        strength: share of the steps that are taken from an image with noise.
        size: height and width of the images in pixels.
        latents_BHWZ: the noise to start from; None to draw it from the seed.
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    options: ImageOptions
    sampler: SamplerConfig
    steps: int
    guidance: float
    strength: float
    size: Size
    latents_BHWZ: np.ndarray | None


def make_image_request(
    config: ModelConfig,
    prompt: str | Sequence[str],
    options: ImageOptions | None = None,
    *,
    latents: np.ndarray | None = None,
    has_image: bool = False,
    has_mask: bool = False,
    **overrides: Any,
) -> ImageRequest:
    """Checks the prompts and the options, and replaces None by the values of `config`.

    Args:
        config: the model's configuration.
        prompt: one text or several.
        options: by default `ImageOptions()`.
        latents: as for `TextToImage`.
        has_image: whether there is an image to start from.
        has_mask: whether there is a mask of it.
        **overrides: options by name, which take precedence over `options`.

    Raises:
        TypeError: an option name is unknown.
        UserError: an argument is out of its range; names it, its value and the range.
    """
    options, prompts = ImageOptions.merge(options, overrides), check_prompts(prompt)
    image = with_sampler(config.image, options.sampler)
    guidance = image.guidance_scale if options.guidance is None else options.guidance
    check_guidance(options.guidance_rescale, options.guidance_interval, options.guidance_passes)
    check_choice("fit", options.fit, Fit)
    steps = image.sampler.num_steps if options.steps is None else options.steps
    size = image_size(config, image, options.height, options.width)
    latents_size = tuple(map(config.latent_size, size))
    return ImageRequest(
        prompts=prompts,
        negative_prompts=negative_prompts(options.negative_prompt, len(prompts)),
        options=options,
        seeds=seeds_of(options.seed, len(prompts)),
        sampler=image.sampler,
        steps=check_steps(image, steps),
        guidance=check_number("guidance", guidance),
        strength=_strength(options.strength, has_image, has_mask),
        size=size,
        latents_BHWZ=_latents(latents, (len(prompts), *latents_size, image.unet.out_channels)),
    )


def _strength(strength: float | None, has_image: bool, has_mask: bool) -> float:
    """Returns the strength, 1 without an image to start from."""
    if not has_image:
        for name, given in (("strength", strength is not None), ("mask", has_mask)):
            if given:
                raise UserError(f"{name} is given without an image, expected one to start from")
        return 1.0
    if strength is None:
        return 1.0 if has_mask else _STRENGTH
    check_strength("strength", strength)
    return strength


def _latents(latents: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if latents is None:
        return None
    array = np.asarray(latents)
    if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
        raise UserError(
            f"latents are {array.dtype} {list(array.shape)}, expected finite numbers, "
            f"float32 {list(shape)}: [prompts, height, width, channels]"
        )
    return array
