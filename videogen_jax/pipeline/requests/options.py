"""Options of sampling, shared by Python keywords, the command line and requests."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from videogen_jax.diffusion.guidance import GuidancePasses
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.media.fitting import Fit
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.requests.checks import plain
from videogen_jax.pipeline.temporal_sr import Interpolation

DIFFUSERS_NAMES = {
    "num_inference_steps": "'steps'",
    "guidance_scale": "'guidance'",
    "generator": "'seed', an integer",
    "scheduler": "'sampler'",
    "eta": "'sampler', a SamplerConfig with that eta",
    "image": "'reference'",
    "strength": "'refine_strength'",
    "ip_adapter_image": "'reference'",
    "frame_rate": "'fps'",
    "video_length": "'num_frames'",
    "prompt_embeds": "'prompt', a text",
    "negative_prompt_embeds": "'negative_prompt', a text",
    "num_videos_per_prompt": "'prompt', a list with the text several times",
    "num_images_per_prompt": "'prompt', a list with the text several times",
    "output_type": "'as_float' for images; the frames of a video are uint8",
    "callback_on_step_end": "'callback', called with the model's name, the step and the latents",
    "callback_steps": "'callback', called with the model's name, the step and the latents",
}
"""What to use for keywords of diffusers' pipelines."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a call. Values are checked by the call that takes them, not here.

    NumPy and JAX scalars stand for Python's.
    """

    OTHER_KEYWORDS: ClassVar[tuple[str, ...]] = ("progress", "options")
    """Keywords of the call that are not options."""

    @classmethod
    def merge(cls, options: Self | None, overrides: Mapping[str, Any]) -> Self:
        """Returns `options`, by default `cls()`, with some of them replaced.

        Raises:
            TypeError: `options` is not of this class, or an option name is unknown; lists the valid
                names, most similar first.
        """
        options = cls() if options is None else options
        if not isinstance(options, cls):
            raise TypeError(f"options is a {type(options).__name__}, expected {cls.__name__}")
        names = [field.name for field in fields(cls)]
        for name in overrides:
            if name not in names:
                raise TypeError(_no_option(name, names, cls.OTHER_KEYWORDS))
        changed = replace(options, **overrides)
        return replace(changed, **{name: plain(getattr(changed, name)) for name in names})


# The attributes' descriptions are also the help texts of the command line.
@dataclass(frozen=True, kw_only=True)
class SamplingOptions(Options):
    """Options that videos and images share. None is the model's own value.

    A list of negative prompts has one for each prompt. A sampler selected by name has the timestep
    spacing of `SamplerConfig.renamed`; a `SamplerConfig` is used unchanged.

    Attributes:
        seed: seed of all noise, an integer from 0 to 2³² − 1; or a list with one for each prompt,
            each of which then gives what it gives alone with its seed.
        negative_prompt: text that guidance leads away from, none by default.
        steps: steps of the samplers: one number for all, or one each for the image model, every
            stage and the refiner.
        guidance: classifier-free guidance scale, 1 for none: one number for all, or one each for
            the image model and every stage.
        guidance_rescale: how far the guided prediction is rescaled to the standard deviation of the
            conditional one, from 0 (not at all) to 1 (Lin et al. 2023, section 3.4): with
            zero-terminal-SNR schedules, a high guidance scale otherwise overexposes images. It is
            for the image model and every stage.
        guidance_interval: noise levels σ between which guidance is used, above the first number
            and up to the second, such as 0.28 and 5.42; at others a step costs half (Kynkäänniemi
            et al. 2024). A clean latent plus σ times normal noise has the level σ; SD's go from
            0.03 to 14.6. It is for the image model and every stage; all levels by default.
        guidance_passes: whether guidance runs a network once on a doubled batch ("together") or
            twice, in half the memory ("in_turn").
        sampler: sampler of every diffusion model, at its default timesteps in diffusers.
    """

    OTHER_KEYWORDS = ("prompt", *Options.OTHER_KEYWORDS)

    seed: int | Sequence[int] = 0
    negative_prompt: str | Sequence[str] | None = ""
    steps: int | Sequence[int] | None = None
    guidance: float | Sequence[float] | None = None
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    guidance_passes: GuidancePasses = "together"
    sampler: SamplerName | SamplerConfig | None = None

    def settings(self) -> dict[str, Any]:
        """Returns the options by which results differ, as plain dicts and lists.

        `guidance_passes` is not among them: as the devices, it changes nothing beyond rounding.
        """
        options = asdict(self)
        del options["guidance_passes"]
        return options


def _no_option(name: str, names: Sequence[str], others: Sequence[str]) -> str:
    """Returns the message about an unknown keyword: what to use, then all, most similar first."""
    nearest = difflib.get_close_matches(name, [*names, *others], n=1)
    right = DIFFUSERS_NAMES.get(name) or (repr(nearest[0]) if nearest else None)
    instead = f", use {right}" if right else ""
    listed = difflib.get_close_matches(name, names, n=len(names), cutoff=0.0)
    return f"there is no option {name!r}{instead}, expected one of {', '.join(listed)}"


@dataclass(frozen=True, kw_only=True)
class VideoOptions(SamplingOptions):
    """Options of a video, for `VideoGen`. None is the model's own value.

    Attributes:
        fps: frames per second that the cascade is conditioned on (§3.2); each round of temporal
            super-resolution doubles it.
        num_frames: frames N of the cascade's clip.
        stages: number of stages to run; the video has the last one's resolution.
        temporal_sr: rounds of temporal super-resolution, N → 2N − 1 frames each (§3.3); 0 with
            fewer stages than the model has.
        use_reference: whether the stages are conditioned on a reference image. If not, its latents
            are zero: the ablation of Table 3, for stages that were trained this way.
        interpolation: how temporal super-resolution finds the middle frames; "slerp" is the
            ablation of Fig. 6.
        refine: whether the refiner of temporal super-resolution runs.
        refine_strength: share of the refiner's steps that are taken, above 0 and at most 1. At 1 it
            starts from noise, below from the interpolated frames with noise (SDEdit, Meng et al.
            2022): fewer steps, which change less.
        decoder: decoder of the latents; "image" is the ablation of Fig. 7.
        height: pixels of the video, by default the resolution of its last stage. Both sides must be
            multiples of what the networks need; an error names the nearest ones.
        width: as height.
        fit: how a reference of another aspect ratio is fitted to the video: cropped, padded with
            its mean colour, or stretched.
        exact_reference: whether the first frame is held to the reference: its latents are those of
            the reference in every step of the stages, and its pixels are the reference's, into
            which the frames up to the next one of the cascade's clip are blended.
    """

    OTHER_KEYWORDS = (
        *SamplingOptions.OTHER_KEYWORDS,
        *("reference", "keep_latents", "start_from", "start_after", "callback"),
    )

    fps: float | None = None
    num_frames: int | None = None
    stages: int | None = None
    temporal_sr: int | None = None
    use_reference: bool = True
    interpolation: Interpolation = "flow"
    refine: bool = True
    refine_strength: float = 1.0
    decoder: DecoderName = "video"
    height: int | None = None
    width: int | None = None
    fit: Fit = "crop"
    exact_reference: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageOptions(SamplingOptions):
    """Options of images alone, for `VideoGen.images`. None is the model's own value.

    Attributes:
        steps: steps of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        guidance_rescale: how far the guided prediction is rescaled to the standard deviation of the
            conditional one, from 0 (not at all) to 1 (Lin et al. 2023, section 3.4).
        guidance_interval: noise levels σ between which guidance is used, above the first number
            and up to the second; at others a step costs half (Kynkäänniemi et al. 2024).
        height: pixels of the image, by default the model's resolution; a multiple of what the
            network needs.
        width: as height.
        strength: with an image to start from, the share of the steps that are taken, above 0 and at
            most 1: the more, the less is left of it; by default 0.8, or 1 with a mask.
        fit: how an image of another aspect ratio is fitted to height and width.
    """

    OTHER_KEYWORDS = (
        *SamplingOptions.OTHER_KEYWORDS,
        *("image", "mask", "latents", "as_float", "callback"),
    )

    # There is one diffusion model, hence one number.
    steps: int | None = None
    guidance: float | None = None
    height: int | None = None
    width: int | None = None
    strength: float | None = None
    fit: Fit = "crop"


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(Options):
    """Options of restoring one's own video, for `VideoGen.restore`. None is the model's own value.

    Attributes:
        size: pixels to which the shorter side is resized; by default the last stage's resolution,
            which the networks were trained at.
        decoder: decoder of the latents; "image" is the ablation of Fig. 7.
    """

    OTHER_KEYWORDS = ("video", *Options.OTHER_KEYWORDS)

    size: int | None = None
    decoder: DecoderName = "video"


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(RestoreOptions):
    """Options of interpolating one's own video, for `VideoGen.interpolate`.

    None is the model's own value.

    Attributes:
        times: how many times the frame rate is doubled, N → 2N − 1 frames each time (§3.3): 3 makes
            8 frames of each one.
        seed: seed of the refiner's noise, an integer from 0 to 2³² − 1.
        steps: steps of the refiner's sampler.
        sampler: sampler of the refiner, at its default timesteps in diffusers.
        interpolation: how the middle frames are found; "slerp" is the ablation of Fig. 6.
        refine: whether the refiner runs.
        refine_strength: share of the refiner's steps that are taken, above 0 and at most 1. At 1 it
            starts from noise, below from the interpolated frames with noise.
    """

    times: int | None = None
    seed: int = 0
    steps: int | None = None
    sampler: SamplerName | SamplerConfig | None = None
    interpolation: Interpolation = "flow"
    refine: bool = True
    refine_strength: float = 1.0


def shows_options(options_class: type[Options]) -> Callable[[Function], Function]:
    """Returns a decorator: `help` and `inspect.signature` show options, not `**overrides`."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        options = inspect.signature(options_class).parameters.values()
        shown = signature.replace(parameters=[*own, *options])
        setattr(function, "__signature__", shown)
        return function

    return decorate
