"""Requests of `VideoGen`: checked options, completed with the model's own values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.diffusion.samplers import first_step
from videogen_jax.errors import UserError
from videogen_jax.media.fitting import Fit
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.denoise import Sampling, sampling_plan
from videogen_jax.pipeline.requests.checks import (
    check_choice,
    check_count,
    check_guidance,
    check_number,
    check_prompts,
    check_strength,
    check_switch,
    negative_prompts,
)
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.sizes import Size, video_sizes
from videogen_jax.pipeline.temporal_sr import Interpolation

MAX_SEED = 2**32 - 1
FPS_RANGE = (0.01, 1000.0)  # of a video file
MAX_ROUNDS = 16  # which double the lowest rate beyond half of the highest
_MAX_FRAMES = 100_000


@dataclass(frozen=True)
class Request:
    """The checked options of a call of `VideoGen`, completed with the model's own values."""

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]  # one for each prompt
    options: VideoOptions  # as passed; for fields that may be None, use the values below
    seeds: tuple[int, ...]  # one for each prompt
    samplers: tuple[SamplerConfig, ...]  # of the image model, each stage, the refiner
    steps: tuple[int, ...]  # of the image model, each stage, the refiner
    guidance: tuple[float, ...]  # of the image model and each stage
    sizes: tuple[Size, ...]  # of the image model and each stage that runs
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

    @property
    def refiner_steps(self) -> int:
        """Steps of the refiner in all rounds together; 0 without refiner."""
        if not self.options.refine:
            return 0
        steps = self.steps[-1] - first_step(self.steps[-1], self.options.refine_strength)
        return steps * (2**self.rounds - 1)

    def sampling(self, part: int) -> Sampling:
        """Returns the sampling arguments of the image model (`part` 0) or a stage (from 1)."""
        return Sampling(
            steps=self.steps[part],
            guidance_scale=self.guidance[part],
            guidance_rescale=self.options.guidance_rescale,
            guidance_interval=self.options.guidance_interval,
            guidance_passes=self.options.guidance_passes,
            sampler=self.samplers[part],
        )

    def parts(self, generates_reference: bool, after: str = "") -> dict[str, tuple[str, ...]]:
        """Returns the parts of the call in order, each with the components that it uses together.

        Args:
            generates_reference: whether the reference is none of the user's.
            after: the last part whose result is there already; "" for none.
        """
        made: dict[str, tuple[str, ...]] = {}
        if generates_reference and self.options.use_reference:
            made["reference"] = ("image_unet", "autoencoder")
        made |= {f"stage_{i}": ("autoencoder", f"stage_{i}") for i in range(1, self.stages + 1)}
        if self.rounds:
            flow = ("flow",) if self.options.interpolation == "flow" else ()
            made["temporal_sr"] = (*flow, "refiner") if self.options.refine else flow
        names = list(made)
        left = names[names.index(after) + 1 :] if after in names else names
        decoder = "video_decoder" if self.options.decoder == "video" else "autoencoder"
        text = {"text": ("text_encoder",)} if left else {}
        return text | {name: made[name] for name in left} | {"decoder": (decoder,)}

    def turns(self, generates_reference: bool, after: str = "") -> list[tuple[str, ...]]:
        """Returns the components that are used together, in the order in which the call runs."""
        return list(self.parts(generates_reference, after).values())

    def components(self, generates_reference: bool, after: str = "") -> dict[str, str]:
        """Returns the components that the call needs, with the reason for each."""
        reasons = {
            "text_encoder": "every call",
            "autoencoder": "every call",
            "image_unet": "a call without a reference image",
            **{f"stage_{i}": f"stage {i}" for i in range(1, self.stages + 1)},
            "flow": "temporal_sr with interpolation='flow'",
            "refiner": "temporal_sr with refine=True",
            "video_decoder": "decoder='video'",
        }
        used = {name for turn in self.turns(generates_reference, after) for name in turn}
        return {name: reason for name, reason in reasons.items() if name in used}


def seeds_of(seed: Any, count: int) -> tuple[int, ...]:
    """Returns the seed of each of `count` prompts, from one for all or one for each.

    Raises:
        WrongType: one is not an integer.
        UserError: one is out of range, or there are not as many as prompts.
    """
    if not isinstance(seed, tuple):
        return (check_count("seed", seed, 0, MAX_SEED),) * count
    if len(seed) != count:
        raise UserError(f"seed has {len(seed)} values for {count} prompts, expected one or {count}")
    return tuple(check_count("seed", one, 0, MAX_SEED) for one in seed)


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
    check_guidance(options.guidance_rescale, options.guidance_interval, options.guidance_passes)
    check_choice("interpolation", options.interpolation, Interpolation)
    check_choice("decoder", options.decoder, DecoderName)
    check_switch("use_reference", options.use_reference)
    check_switch("refine", options.refine)
    check_strength("refine_strength", options.refine_strength)
    parts = tuple(
        with_sampler(part, options.sampler)
        for part in (config.image, *config.stages, config.refiner)
    )
    check_choice("fit", options.fit, Fit)
    check_switch("exact_reference", options.exact_reference)
    if options.exact_reference and not options.use_reference:
        raise UserError("exact_reference is True, but use_reference is False")
    prompts, rounds = check_prompts(prompt), _rounds(config, options.temporal_sr, stages)
    request = Request(
        prompts=prompts,
        negative_prompts=negative_prompts(options.negative_prompt, len(prompts)),
        options=options,
        seeds=seeds_of(options.seed, len(prompts)),
        samplers=tuple(part.sampler for part in parts),
        steps=_steps(parts, options.steps),
        guidance=_guidance(config, options.guidance),
        sizes=video_sizes(config, stages, rounds, options.height, options.width),
        num_frames=check_count("num_frames", num_frames, 1, _MAX_FRAMES),
        fps=config.fps if options.fps is None else options.fps,
        stages=stages,
        rounds=rounds,
    )
    if request.rounds and request.num_frames == 1:
        raise UserError("num_frames is 1, expected at least 2 with temporal_sr, or temporal_sr=0")
    _check_rate(request)
    if request.final_num_frames > _MAX_FRAMES:
        raise UserError(
            f"num_frames is {request.num_frames}, which temporal_sr={request.rounds} makes "
            f"{request.final_num_frames}, expected at most {_MAX_FRAMES}"
        )
    return request


def _check_rate(request: Request) -> None:
    wanted = f"a number from {FPS_RANGE[0]}"
    if check_number("fps", request.fps, wanted) < FPS_RANGE[0]:
        raise UserError(f"fps is {request.fps}, expected {wanted}")
    if request.final_fps > FPS_RANGE[1]:
        raise UserError(
            f"fps is {request.fps:g}, which temporal_sr={request.rounds} makes "
            f"{request.final_fps:g}, expected at most {FPS_RANGE[1]:g}"
        )


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
        check_steps(part, value)
    return values


def check_steps(part: DenoiserConfig, steps: Any) -> int:
    """Returns `steps`. Raises UserError unless the model's sampler can take that many."""
    check_count("steps", steps, 1, part.schedule.num_train_timesteps)
    sampling_plan(part, steps)  # raises for a number that does not fit the sampler's spacing
    return steps


def _guidance(config: ModelConfig, guidance: float | Sequence[float] | None) -> tuple[float, ...]:
    default = tuple(part.guidance_scale for part in (config.image, *config.stages))
    values = _per_part("guidance", guidance, default, "the image model and each stage")
    return tuple(check_number("guidance", value) for value in values)


def _rounds(config: ModelConfig, temporal_sr: int | None, stages: int) -> int:
    """Returns the rounds of temporal super-resolution, which needs the last stage's latents."""
    all_stages = stages == len(config.stages)
    if temporal_sr is None:
        return config.temporal_sr_rounds if all_stages else 0
    rounds = check_count("temporal_sr", temporal_sr, 0, MAX_ROUNDS)
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
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * len(default)
    if len(value) != len(default):
        raise UserError(
            f"{name} has {len(value)} values, expected one, or {len(default)}: for {parts}"
        )
    return tuple(value)
