"""What one call of `VideoGen.images` asks for: checked, and the model's own values filled in.

Letters: B prompts, h height and w width of the latents, Z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.samplers import SamplerConfig, SamplerName
from videogen_jax.errors import UserError
from videogen_jax.pipeline.denoise import sampling_plan
from videogen_jax.pipeline.request import MAX_SEED, check_count, check_prompts, is_finite


class ImageOptions(TypedDict, total=False):
    """The options of `VideoGen.images`. What is left out or None is the model's own choice.

    Attributes:
        seed: of all noise, from 0 (the default) to 2³² − 1.
        negative_prompt: text that guidance leads away from, empty by default.
        steps: of the sampler.
        guidance: classifier-free guidance scale; 1 is none.
        sampler: by name with the grid of timesteps that it has in diffusers (see
            `SamplerConfig.renamed`), or a `SamplerConfig`.
        latents: the noise to start from, float32 `[B, h, w, Z]`, standard normal, one for each
            prompt; by default drawn from the seed. It stands in the sampler's variance-preserving
            coordinates, before the scale at which its grid starts (`Plan.init_scale`; 1 for
            "leading" spacing). diffusers' `latents=`, which its pipeline multiplies by
            `init_noise_sigma`, are the same numbers with channels first, `[B, Z, h, w]`.
    """

    seed: int
    negative_prompt: str
    steps: int | None
    guidance: float | None
    sampler: SamplerName | SamplerConfig | None
    latents: np.ndarray | None


@dataclass(frozen=True)
class ImageRequest:
    """The values of a call of `VideoGen.images`, each in its range."""

    prompts: tuple[str, ...]
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    sampler: SamplerConfig
    latents_BHWZ: np.ndarray | None


def make_image_request(
    config: ModelConfig,
    prompt: str | Sequence[str],
    *,
    seed: int = 0,
    negative_prompt: str = "",
    steps: int | None = None,
    guidance: float | None = None,
    sampler: SamplerName | SamplerConfig | None = None,
    latents: np.ndarray | None = None,
) -> ImageRequest:
    """Checks the prompts and the `ImageOptions`, and fills in what is not given from `config`.

    Raises:
        UserError: an argument is out of its range; names it, its value and the range.
    """
    image, prompts = config.image, check_prompts(prompt)
    if sampler is None:
        sampler = image.sampler
    elif not isinstance(sampler, SamplerConfig):
        sampler = image.sampler.renamed(sampler)
    guidance = image.guidance_scale if guidance is None else guidance
    if not is_finite(guidance):
        raise UserError(f"guidance is {guidance}, expected a finite number")
    steps = check_count("steps", sampler.num_steps if steps is None else steps, 1)
    sampling_plan(replace(image, sampler=sampler), steps)  # which knows what it cannot take
    size = config.latent_size(image.resolution)
    return ImageRequest(
        prompts=prompts,
        negative_prompt=negative_prompt,
        seed=check_count("seed", seed, 0, MAX_SEED),
        steps=steps,
        guidance=guidance,
        sampler=sampler,
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
