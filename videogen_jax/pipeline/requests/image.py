"""What one call of `VideoGen.images` asks for: checked, and the model's own values filled in.

Letters: B prompts, h height and w width of the latents, Z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.samplers import SamplerConfig
from videogen_jax.errors import UserError
from videogen_jax.pipeline.denoise import sampling_plan
from videogen_jax.pipeline.requests.options import ImageOptions
from videogen_jax.pipeline.requests.video import (
    MAX_SEED,
    check_count,
    check_prompts,
    is_finite,
    with_sampler,
)


@dataclass(frozen=True)
class ImageRequest:
    """A call of `VideoGen.images`: its options, each in its range, and the model's own values.

    Attributes:
        prompts: at least one.
        options: as given: for what may be None in it, take the values below.
        sampler: of the image model.
        steps: of the sampler.
        guidance: classifier-free guidance scale.
        latents_BHWZ: the noise to start from, None to draw it from the seed.
    """

    prompts: tuple[str, ...]
    options: ImageOptions
    sampler: SamplerConfig
    steps: int
    guidance: float
    latents_BHWZ: np.ndarray | None


def make_image_request(
    config: ModelConfig,
    prompt: str | Sequence[str],
    options: ImageOptions | None = None,
    *,
    latents: np.ndarray | None = None,
    **overrides: Any,
) -> ImageRequest:
    """Checks the prompts and the options, and fills in what is None from `config`.

    Args:
        config: the model's configuration.
        prompt: one text or several.
        options: by default `ImageOptions()`.
        latents: as for `TextToImage`.
        **overrides: of the options, by name.

    Raises:
        TypeError: there is no option of a name.
        UserError: an argument is out of its range; names it, its value and the range.
    """
    options, prompts = ImageOptions.merge(options, overrides), check_prompts(prompt)
    image = with_sampler(config.image, options.sampler)
    guidance = image.guidance_scale if options.guidance is None else options.guidance
    if not is_finite(guidance):
        raise UserError(f"guidance is {guidance}, expected a finite number")
    steps = image.sampler.num_steps if options.steps is None else options.steps
    sampling_plan(image, check_count("steps", steps, 1))  # which knows what it cannot take
    check_count("seed", options.seed, 0, MAX_SEED)
    size = config.latent_size(image.resolution)
    return ImageRequest(
        prompts=prompts,
        options=options,
        sampler=image.sampler,
        steps=steps,
        guidance=guidance,
        latents_BHWZ=_latents(latents, (len(prompts), size, size, image.unet.out_channels)),
    )


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
