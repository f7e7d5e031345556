"""Videos of several clips, each of which begins where the one before it ends.

Letters: B = 1 clip, F frames, H height, W width, C = 3 colour channels, Z latent channels; N frames
of the cascade's clip.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax import sharding
from videogen_jax.errors import UserError
from videogen_jax.media.references import Reference, load_references
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.chain import Extras, Parts, sample_latents
from videogen_jax.pipeline.own_video.codec import FrameCodec
from videogen_jax.pipeline.own_video.interpolate import Interpolate
from videogen_jax.pipeline.own_video.restore import each_within
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.requests.checks import check_count, check_prompts, check_switch
from videogen_jax.pipeline.requests.options import (
    InterpolateOptions,
    VideoOptions,
    shows_options,
)
from videogen_jax.pipeline.requests.own_video import InterpolateRequest
from videogen_jax.pipeline.requests.video import Request, make_request

_MAX_CLIPS = 10_000


class LongVideo:
    """Makes clips one after the other, available as `VideoGen.long`.

        model.long("a red circle moving left", clips=10).save("out.mp4")
        model.long(["a red circle moving left", "a red circle moving right"]).save("out.mp4")

    The last frame of a clip, decoded by the image decoder, is the reference of the next one, whose
    first frame it replaces: n clips of N frames have n (N − 1) + 1. Temporal super-resolution runs
    in windows of N frames that share their end frames, and decoding in overlapping windows, over
    the seams too. Memory does not grow with the number of clips.

    A clip has the noise of its number in a list of prompts, so the first clip is that of
    `model(prompt)`; or of its own seed, if there is one for each.

    Args:
        codec: the decoders of the model.
        parts: returns the parts of the model.
        interpolate: temporal super-resolution in windows.
        directory: where the parameters were read from, for error messages.
    """

    def __init__(
        self,
        codec: FrameCodec,
        parts: Callable[[], Parts],
        interpolate: Interpolate,
        directory: Path | None = None,
    ):
        self._codec, self._parts, self._interpolate = codec, parts, interpolate
        self._directory = directory

    @shows_options(VideoOptions)
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        clips: int | None = None,
        reference: Reference | None = None,
        progress: bool = False,
        options: VideoOptions | None = None,
        **overrides: Any,
    ) -> FrameStream:
        """Makes a video of several clips.

        The work is done while the result is saved, or its frames are iterated over.

        Args:
            prompt: one text for all clips, or a list with one for each.
            clips: number of clips; by default that of the prompts. A list of fewer prompts is
                spread over the clips evenly, in order.
            reference: the first clip's reference, as for `VideoGen`.
            progress: whether to show a progress bar over frames.
            options: the options, by default `VideoOptions()`. Of `exact_reference`, only the
                latents are held.
            **overrides: options by name; they take precedence over `options`.

        Raises:
            TypeError: an option name is unknown; lists the valid names.
            UserError: an argument is out of its range, there are more prompts than clips, or the
                reference is not an image.
            MissingFile: the reference or a component that the call needs is missing.
        """
        check_switch("progress", progress)
        prompts = check_prompts(prompt)
        count = len(prompts) if clips is None else check_count("clips", clips, 1, _MAX_CLIPS)
        if len(prompts) > count:
            raise UserError(f"there are {len(prompts)} prompts for {count} clips")
        prompts = [prompts[i * len(prompts) // count] for i in range(count)]
        options = VideoOptions.merge(options, overrides)
        request = make_request(self._codec.config, prompts, options)
        if request.num_frames < 2:
            raise UserError("num_frames is 1, expected at least 2 in a video of several clips")
        if not request.options.use_reference:
            raise UserError("use_reference is False, but clips are joined by references")
        needed = request.components(reference is None)
        require_components(self._codec.params, needed, self._directory)
        picture_BHWC = None
        if reference is not None:
            picture_BHWC = load_references(reference, 1, request.sizes[0], request.options.fit)
        source = self._source(request, count)
        smooth = self._smoothing(request, source)
        return FrameStream(
            lambda: each_within(
                self._codec,
                smooth,
                self._frames(prompts, smooth, source, options, picture_BHWC, progress),
            ),
            smooth.rate,
            smooth.num_frames,
            smooth.size,
            seed=request.seeds[0],
        )

    def _source(self, request: Request, clips: int) -> FrameStream:
        """Returns what temporal super-resolution has to know of the clips: no frames are read."""
        rate = Fraction(request.fps).limit_denominator(1001)
        frames = clips * (request.num_frames - 1) + 1
        return FrameStream(lambda: iter(()), rate, frames, request.sizes[-1])

    def _smoothing(self, request: Request, source: FrameStream) -> "_Smoothing":
        given = request.options
        return _Smoothing(
            options=InterpolateOptions(
                seed=request.seeds[0],
                interpolation=given.interpolation,
                refine=given.refine,
                refine_strength=given.refine_strength,
                decoder=given.decoder,
            ),
            rate=source.rate * 2**request.rounds,
            num_frames=(source.num_frames - 1) * 2**request.rounds + 1,
            size=request.sizes[-1],
            multiple=1,
            times=request.rounds,
            window=request.num_frames,
            sampler=request.samplers[-1],
            steps=request.steps[-1],
        )

    def _frames(
        self,
        prompts: Sequence[str],
        smooth: "_Smoothing",
        source: FrameStream,
        options: VideoOptions,
        picture_BHWC: np.ndarray | None,
        progress: bool,
    ) -> Iterator[np.ndarray]:
        latents = self._clips(prompts, options, picture_BHWC)
        if smooth.times:
            latents = self._interpolate.latents(latents, source, smooth)
        decoder = smooth.options.decoder
        with bar(progress, "long video", smooth.num_frames, "frame") as tick:
            yield from self._codec.decode(latents, smooth.num_frames, smooth.size, decoder, tick)

    def _clips(
        self, prompts: Sequence[str], options: VideoOptions, picture_BHWC: np.ndarray | None
    ) -> Iterator[np.ndarray]:
        """Yields the latents of each clip `[1, F, H, W, Z]`, of later ones without frame 0."""
        config = self._codec.config
        for number, prompt in enumerate(prompts):
            chosen = dataclasses.replace(
                options,
                temporal_sr=0,
                seed=_chosen(options.seed, number),
                negative_prompt=_chosen(options.negative_prompt, number),
            )
            request, parts = make_request(config, prompt, chosen), self._parts()
            first = number if isinstance(options.seed, int) else 0
            extras = Extras(picture_BHWC, first=first)
            latents_BFHWZ, _ = sample_latents(parts, request, extras)
            clip_BFHWZ = sharding.to_host(latents_BFHWZ)[:1]
            yield clip_BFHWZ[:, 1:] if number else clip_BFHWZ
            if number + 1 == len(prompts):
                return
            last_BHWC = parts.cascade.decode_pictures(parts.params, latents_BFHWZ[:, -1:])
            picture = sharding.to_host(last_BHWC)[0]
            picture_BHWC = load_references(picture, 1, request.sizes[0], "stretch")


class _Smoothing(InterpolateRequest):
    """A request of temporal super-resolution for clips that are made, not read."""

    def components(self) -> dict[str, str]:
        """Returns none: each clip has its turns."""
        return {}


def _chosen(value: Any, number: int) -> Any:
    """Returns the value of one clip, of one for all or one for each."""
    return value if value is None or isinstance(value, int | str) else value[number]
