"""Requests of `VideoGen.restore` and `VideoGen.interpolate`."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.errors import UserError
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.requests.checks import (
    check_choice,
    check_count,
    check_strength,
    check_switch,
)
from videogen_jax.pipeline.requests.options import InterpolateOptions, RestoreOptions
from videogen_jax.pipeline.requests.video import (
    FPS_RANGE,
    MAX_ROUNDS,
    MAX_SEED,
    check_steps,
    with_sampler,
)
from videogen_jax.pipeline.temporal_sr import Interpolation

_MAX_SIDE = 16_384  # of H.264


@dataclass(frozen=True)
class RestoreRequest:
    """The checked options of a call of `VideoGen.restore`, completed with the model's own values.

    Attributes:
        options: the options as passed; for fields that may be None, use the values below.
        rate: frames per second of the result.
        num_frames: frames of the result.
        size: height and width of the result, both even.
        multiple: pixels of which the networks' height and width must be multiples.
    """

    options: RestoreOptions
    rate: Fraction
    num_frames: int
    size: tuple[int, int]
    multiple: int

    def components(self) -> dict[str, str]:
        """Returns the components that the call needs, with the reason for each."""
        needed = {"autoencoder": "every call"}
        if self.options.decoder == "video":
            needed["video_decoder"] = "decoder='video'"
        return needed


@dataclass(frozen=True)
class InterpolateRequest(RestoreRequest):
    """The checked options of a call of `VideoGen.interpolate`, as `RestoreRequest`.

    Attributes:
        times: rounds of temporal super-resolution.
        window: frames of the source that are interpolated together.
        sampler: sampler of the refiner.
        steps: steps of the refiner.
    """

    options: InterpolateOptions
    times: int
    window: int
    sampler: SamplerConfig
    steps: int

    def components(self) -> dict[str, str]:
        needed = super().components()
        if self.options.interpolation == "flow":
            needed["flow"] = "interpolation='flow'"
        if self.options.refine:
            needed |= dict.fromkeys(("text_encoder", "refiner"), "refine=True")
        return needed


def make_restore_request(
    config: ModelConfig,
    source: FrameStream,
    options: RestoreOptions | None = None,
    **overrides: Any,
) -> RestoreRequest:
    """Checks the options, and replaces None by the values of `config`.

    Raises:
        TypeError: an option name is unknown.
        UserError: an argument is out of its range; names it, its value and the range.
    """
    options = RestoreOptions.merge(options, overrides)
    check_choice("decoder", options.decoder, DecoderName)
    return RestoreRequest(
        options=options,
        rate=source.rate,
        num_frames=source.num_frames,
        size=_size(config, source, options),
        multiple=config.autoencoder.factor,
    )


def make_interpolate_request(
    config: ModelConfig,
    source: FrameStream,
    options: InterpolateOptions | None = None,
    **overrides: Any,
) -> InterpolateRequest:
    """Does what `make_restore_request` does, for interpolation.

    Raises:
        UserError: also if the source has one frame, or the new rate is not that of a video file.
    """
    options = InterpolateOptions.merge(options, overrides)
    times = max(1, config.temporal_sr_rounds) if options.times is None else options.times
    check_count("times", times, 1, MAX_ROUNDS)
    check_count("seed", options.seed, 0, MAX_SEED)
    check_choice("decoder", options.decoder, DecoderName)
    check_choice("interpolation", options.interpolation, Interpolation)
    check_switch("refine", options.refine)
    check_strength("refine_strength", options.refine_strength)
    refiner = with_sampler(config.refiner, options.sampler)
    steps = refiner.sampler.num_steps if options.steps is None else options.steps
    if source.num_frames < 2:
        raise UserError("the video has 1 frame, expected at least 2: there is nothing between")
    rate = source.rate * 2**times
    if rate > FPS_RANGE[1]:
        raise UserError(
            f"the video has {source.fps:g} frames per second, which times={times} makes "
            f"{float(rate):g}, expected at most {FPS_RANGE[1]:g}"
        )
    return InterpolateRequest(
        options=options,
        rate=rate,
        num_frames=(source.num_frames - 1) * 2**times + 1,
        size=_size(config, source, options),
        multiple=config.size_multiple(refiner),
        times=times,
        window=min(config.num_frames, source.num_frames),
        sampler=refiner.sampler,
        steps=check_steps(refiner, steps),
    )


def _size(config: ModelConfig, source: FrameStream, options: RestoreOptions) -> tuple[int, int]:
    """Returns height and width of the result: the source's aspect ratio, even sides."""
    short = config.refiner.resolution if options.size is None else options.size
    check_count("size", short, 2 * config.autoencoder.factor, _MAX_SIDE)
    scale = short / min(source.size)
    height, width = (max(2, 2 * round(side * scale / 2)) for side in source.size)
    if max(height, width) > _MAX_SIDE:
        raise UserError(
            f"size is {short}, which makes frames of {width}x{height} pixels, expected sides of at "
            f"most {_MAX_SIDE}"
        )
    return height, width
