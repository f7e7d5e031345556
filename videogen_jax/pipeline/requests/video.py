"""Requests of `VideoGen`: checked options, completed with the model's own values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.errors import UserError
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.denoise import Sampling, sampling_plan
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.temporal_sr import Interpolation

MAX_SEED = 2**32 - 1
_FPS_RANGE = (0.01, 1000.0)  # of a video file


@dataclass(frozen=True)
class Request:
    """The checked options of a call of `VideoGen`, completed with the model's own values."""

    prompts: tuple[str, ...]
    options: VideoOptions  # as passed; for fields that may be None, use the values below
    samplers: tuple[SamplerConfig, ...]  # of the image model, each stage, the refiner
    steps: tuple[int, ...]  # of the image model, each stage, the refiner
    guidance: tuple[float, ...]  # of the image model and each stage
    num_frames: int  # of the cascade's clip
    fps: float  # of the cascade's clip
    stages: int
    rounds: int  # of temporal super-resolution

    @property
    def final_num_frames(self) -> int:
        """Frames after temporal super-resolution."""
        return (self.num_frames - 1) * 2**self.rounds + 1

    @property
    def final_fps(self) -> float:
        """Frames per second after temporal super-resolution."""
        return self.fps * 2.0**self.rounds

    def sampling(self, part: int) -> Sampling:
        """Returns the sampling arguments of the image model (`part` 0) or a stage (from 1)."""
        return Sampling(
            steps=self.steps[part],
            guidance_scale=self.guidance[part],
            guidance_rescale=self.options.guidance_rescale,
            sampler=self.samplers[part],
        )

    def components(self, generates_reference: bool) -> dict[str, str]:
        """Returns the components that the call needs, with the reason for each."""
        needed = {"text_encoder": "every call", "autoencoder": "every call"}
        if generates_reference and self.options.use_reference:
            needed["image_unet"] = "a call without a reference image"
        needed |= {f"stage_{i}": f"stage {i}" for i in range(1, self.stages + 1)}
        if self.rounds and self.options.interpolation == "flow":
            needed["flow"] = "temporal_sr with interpolation='flow'"
        if self.rounds and self.options.refine:
            needed["refiner"] = "temporal_sr with refine=True"
        if self.options.decoder == "video":
            needed["video_decoder"] = "decoder='video'"
        return needed


def make_request(
    config: ModelConfig,
    prompt: str | Sequence[str],
    options: VideoOptions | None = None,
    **overrides: Any,
) -> Request:
    """Checks the prompts and the options, and replaces None by the values of `config`.

    Args:
        config: the model's configuration.
        prompt: one text or several.
        options: by default `VideoOptions()`.
        **overrides: options by name, which take precedence over `options`.

    Raises:
        TypeError: an option name is unknown.
        UserError: an argument is out of its range; names it, its value and the range.
    """
    options = VideoOptions.merge(options, overrides)
    num_stages = len(config.stages)
    requested = num_stages if options.stages is None else options.stages
    stages = check_count("stages", requested, 1, num_stages)
    num_frames = config.num_frames if options.num_frames is None else options.num_frames
    check_count("seed", options.seed, 0, MAX_SEED)
    check_rescale(options.guidance_rescale)
    _choice("interpolation", options.interpolation, Interpolation)
    _choice("decoder", options.decoder, DecoderName)
    parts = tuple(
        with_sampler(part, options.sampler)
        for part in (config.image, *config.stages, config.refiner)
    )
    request = Request(
        prompts=check_prompts(prompt),
        options=options,
        samplers=tuple(part.sampler for part in parts),
        steps=_steps(parts, options.steps),
        guidance=_guidance(config, options.guidance),
        num_frames=check_count("num_frames", num_frames, 1),
        fps=config.fps if options.fps is None else options.fps,
        stages=stages,
        rounds=_rounds(config, options.temporal_sr, stages),
    )
    if request.rounds and request.num_frames == 1:
        raise UserError("num_frames is 1, expected at least 2 with temporal_sr, or temporal_sr=0")
    if not (is_finite(request.fps) and _FPS_RANGE[0] <= request.fps):
        raise UserError(f"fps is {request.fps}, expected a number from {_FPS_RANGE[0]}")
    if request.final_fps > _FPS_RANGE[1]:
        raise UserError(
            f"fps is {request.fps:g}, which temporal_sr={request.rounds} makes "
            f"{request.final_fps:g}, expected at most {_FPS_RANGE[1]:g}"
        )
    return request


def check_prompts(prompt: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the texts as a tuple. Raises UserError if there are none or one is not a string."""
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not prompts:
        raise UserError("the list of prompts is empty, expected at least one prompt")
    if wrong := [one for one in prompts if not isinstance(one, str)]:
        raise UserError(f"prompt is {wrong[0]!r}, expected a string or a list of strings")
    return prompts


def with_sampler(
    part: DenoiserConfig, sampler: SamplerName | SamplerConfig | None
) -> DenoiserConfig:
    """Returns the diffusion model's config with another sampler; None keeps its own.

    Raises:
        UserError: there is no sampler of that name.
    """
    if sampler is None:
        return part
    if not isinstance(sampler, SamplerConfig):
        sampler = part.sampler.renamed(sampler)
    return replace(part, sampler=sampler)


def _steps(parts: tuple[DenoiserConfig, ...], steps: int | Sequence[int] | None) -> tuple[int, ...]:
    default = tuple(part.sampler.num_steps for part in parts)
    values = _per_part("steps", steps, default, "the image model, each stage and the refiner")
    for part, value in zip(parts, values, strict=True):
        check_count("steps", value, 1)
        sampling_plan(part, value)  # raises for a number it cannot take
    return values


def _guidance(config: ModelConfig, guidance: float | Sequence[float] | None) -> tuple[float, ...]:
    default = tuple(part.guidance_scale for part in (config.image, *config.stages))
    values = _per_part("guidance", guidance, default, "the image model and each stage")
    for value in values:
        if not is_finite(value):
            raise UserError(f"guidance is {value}, expected a finite number")
    return values


def _rounds(config: ModelConfig, temporal_sr: int | None, stages: int) -> int:
    """Returns the rounds of temporal super-resolution, which needs the last stage's latents."""
    all_stages = stages == len(config.stages)
    if temporal_sr is None:
        return config.temporal_sr_rounds if all_stages else 0
    rounds = check_count("temporal_sr", temporal_sr, 0)
    if rounds and not all_stages:
        raise UserError(
            f"temporal_sr is {rounds} but stages is {stages}: expected 0, because it needs "
            f"the latents of stage {len(config.stages)}"
        )
    return rounds


def _per_part(name: str, value: Any, default: tuple, parts: str) -> tuple:
    """Returns a number for each part, from one for all parts or one for each."""
    if value is None:
        return default
    if not isinstance(value, Sequence):
        return (value,) * len(default)
    if len(value) != len(default):
        raise UserError(
            f"{name} has {len(value)} values, expected one, or {len(default)}: for {parts}"
        )
    return tuple(value)


def check_count(name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """Returns `value`. Raises UserError, which names it, unless it is an integer in the range."""
    if not isinstance(value, int) or value < lowest or (highest is not None and value > highest):
        wanted = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise UserError(f"{name} is {value!r}, expected an integer {wanted}")
    return value


def check_rescale(value: Any) -> None:
    """Raises UserError unless `value` is a guidance rescale, a number from 0 to 1."""
    if not (is_finite(value) and 0.0 <= value <= 1.0):
        raise UserError(f"guidance_rescale is {value!r}, expected a number from 0 to 1")


def _choice(name: str, value: Any, choices: Any) -> None:
    if value not in get_args(choices):
        raise UserError(f"{name} is {value!r}, expected one of {', '.join(get_args(choices))}")


def is_finite(value: Any) -> bool:
    """Whether `value` is a number, and neither infinite nor NaN."""
    return isinstance(value, int | float) and math.isfinite(value)
