"""What one call of `VideoGen` asks for: checked, and the model's own values filled in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, get_args

from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.denoise import sampling_plan
from videogen_jax.pipeline.temporal_sr import Interpolation

MAX_SEED = 2**32 - 1
_FPS_RANGE = (0.01, 1000.0)  # that a video file can have


class Options(TypedDict, total=False):
    """The options of a call of `VideoGen`. What is left out or None is the model's own choice.

    Attributes:
        seed: of all noise, from 0 (the default) to 2³² − 1.
        negative_prompt: text that guidance leads away from, empty by default.
        fps: frames per second that the cascade is asked for (§3.2), before temporal
            super-resolution, which doubles it with each round.
        steps: of the samplers: for all, or for the image model, each stage and the refiner.
        guidance: classifier-free guidance scale: for all, or for the image model and each stage;
            1 is none.
        stages: runs only so many, and decodes at the last one's resolution.
        temporal_sr: rounds of N → 2N − 1 frames (§3.3); 0 with fewer stages.
        num_frames: N of the cascade's clip.
        use_reference: False leaves the reference image out, its latents are zero: the ablation of
            Table 3, for stages that were trained so.
        interpolation: "slerp" instead of "flow" is the ablation of Fig. 6.
        refine: False leaves out the refiner of temporal super-resolution.
        decoder: "image" instead of "video" is the ablation of Fig. 7.
    """

    seed: int
    negative_prompt: str
    fps: float | None
    steps: int | Sequence[int] | None
    guidance: float | Sequence[float] | None
    stages: int | None
    temporal_sr: int | None
    num_frames: int | None
    use_reference: bool
    interpolation: Interpolation
    refine: bool
    decoder: DecoderName


@dataclass(frozen=True)
class Request:
    """The values of a call, each in its range; per part of the chain where parts differ."""

    prompts: tuple[str, ...]
    negative_prompt: str
    seed: int
    num_frames: int  # of the cascade's clip
    fps: float  # of the cascade's clip
    steps: tuple[int, ...]  # of the image model, each stage, the refiner
    guidance: tuple[float, ...]  # of the image model and each stage
    stages: int
    rounds: int  # of temporal super-resolution
    use_reference: bool
    interpolation: Interpolation
    refine: bool
    decoder: DecoderName

    @property
    def final_num_frames(self) -> int:
        """Frames after temporal super-resolution."""
        return (self.num_frames - 1) * 2**self.rounds + 1

    @property
    def final_fps(self) -> float:
        """Frames per second after temporal super-resolution."""
        return self.fps * 2.0**self.rounds

    def components(self, generates_reference: bool) -> dict[str, str]:
        """The components that the call needs, and what each is for."""
        needed = {"text_encoder": "every call", "autoencoder": "every call"}
        if generates_reference and self.use_reference:
            needed["image_unet"] = "a call without a reference image"
        needed |= {f"stage_{i}": f"stage {i}" for i in range(1, self.stages + 1)}
        if self.rounds and self.interpolation == "flow":
            needed["flow"] = "temporal_sr with interpolation='flow'"
        if self.rounds and self.refine:
            needed["refiner"] = "temporal_sr with refine=True"
        if self.decoder == "video":
            needed["video_decoder"] = "decoder='video'"
        return needed


def make_request(
    config: ModelConfig,
    prompt: str | Sequence[str],
    *,
    seed: int = 0,
    negative_prompt: str = "",
    fps: float | None = None,
    steps: int | Sequence[int] | None = None,
    guidance: float | Sequence[float] | None = None,
    stages: int | None = None,
    temporal_sr: int | None = None,
    num_frames: int | None = None,
    use_reference: bool = True,
    interpolation: Interpolation = "flow",
    refine: bool = True,
    decoder: DecoderName = "video",
) -> Request:
    """Checks the prompts and the `Options`, and fills in what is not given from `config`.

    Raises:
        UserError: an argument is out of its range; names it, its value and the range.
    """
    num_stages = len(config.stages)
    stages = check_count("stages", num_stages if stages is None else stages, 1, num_stages)
    num_frames = config.num_frames if num_frames is None else num_frames
    request = Request(
        prompts=check_prompts(prompt),
        negative_prompt=negative_prompt,
        seed=check_count("seed", seed, 0, MAX_SEED),
        num_frames=check_count("num_frames", num_frames, 1),
        fps=config.fps if fps is None else fps,
        steps=_steps(config, steps),
        guidance=_guidance(config, guidance),
        stages=stages,
        rounds=_rounds(config, temporal_sr, stages),
        use_reference=use_reference,
        interpolation=_choice("interpolation", interpolation, Interpolation),
        refine=refine,
        decoder=_choice("decoder", decoder, DecoderName),
    )
    if request.rounds and request.num_frames == 1:
        raise UserError("num_frames is 1, and temporal_sr needs 2 frames at least or to be 0")
    if not (is_finite(request.fps) and _FPS_RANGE[0] <= request.fps):
        raise UserError(f"fps is {request.fps}, expected a number from {_FPS_RANGE[0]}")
    if request.final_fps > _FPS_RANGE[1]:
        raise UserError(
            f"fps is {request.fps:g}, which temporal_sr={request.rounds} makes "
            f"{request.final_fps:g}, expected at most {_FPS_RANGE[1]:g}"
        )
    return request


def check_prompts(prompt: str | Sequence[str]) -> tuple[str, ...]:
    """One text or several as a tuple. Raises UserError for none, or for what is no text."""
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not prompts:
        raise UserError("the list of prompts is empty, at least one prompt expected")
    if wrong := [one for one in prompts if not isinstance(one, str)]:
        raise UserError(f"prompt is {wrong[0]!r}, expected a string or a list of strings")
    return prompts


def _steps(config: ModelConfig, steps: int | Sequence[int] | None) -> tuple[int, ...]:
    parts = (config.image, *config.stages, config.refiner)
    default = tuple(part.sampler.num_steps for part in parts)
    values = _per_part("steps", steps, default, "the image model, each stage and the refiner")
    for part, value in zip(parts, values, strict=True):
        check_count("steps", value, 1)
        sampling_plan(part, value)  # which knows what its sampler cannot take
    return values


def _guidance(config: ModelConfig, guidance: float | Sequence[float] | None) -> tuple[float, ...]:
    default = tuple(part.guidance_scale for part in (config.image, *config.stages))
    values = _per_part("guidance", guidance, default, "the image model and each stage")
    for value in values:
        if not is_finite(value):
            raise UserError(f"guidance is {value}, expected a finite number")
    return values


def _rounds(config: ModelConfig, temporal_sr: int | None, stages: int) -> int:
    """Temporal super-resolution works on the last stage's latents and on no others."""
    all_stages = stages == len(config.stages)
    if temporal_sr is None:
        return config.temporal_sr_rounds if all_stages else 0
    rounds = check_count("temporal_sr", temporal_sr, 0)
    if rounds and not all_stages:
        raise UserError(
            f"temporal_sr is {rounds} but stages is {stages}: it follows stage "
            f"{len(config.stages)}, expected 0"
        )
    return rounds


def _per_part(name: str, value: Any, default: tuple, parts: str) -> tuple:
    """A number for every part, or one number for all of them."""
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
    """`value`. Raises UserError unless it is an integer in the range; names it."""
    if not isinstance(value, int) or value < lowest or (highest is not None and value > highest):
        wanted = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise UserError(f"{name} is {value!r}, expected an integer {wanted}")
    return value


def _choice(name: str, value: Any, choices: Any) -> Any:
    if value not in get_args(choices):
        raise UserError(f"{name} is {value!r}, expected one of {', '.join(get_args(choices))}")
    return value


def is_finite(value: Any) -> bool:
    """Whether `value` is a number, and neither infinite nor NaN."""
    return isinstance(value, int | float) and math.isfinite(value)
