"""Interpolation of one's own videos by flow and refiner (§3.3), available as
`VideoGen.interpolate`.

Letters: B = 1 clip, F frames, H height, W width, Z latent channels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import jax
import numpy as np

from videogen_jax import sharding
from videogen_jax.media.video import Video
from videogen_jax.models.components import require_components
from videogen_jax.pipeline import interrupts, noise
from videogen_jax.pipeline.frame_windows import frame_windows
from videogen_jax.pipeline.own_video.codec import FrameCodec
from videogen_jax.pipeline.own_video.restore import each_within
from videogen_jax.pipeline.own_video.stream import FrameStream, OwnVideo
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.requests.checks import check_progress
from videogen_jax.pipeline.requests.keywords import InterpolateKeywords
from videogen_jax.pipeline.requests.options import InterpolateOptions, shows_options
from videogen_jax.pipeline.requests.own_video import InterpolateRequest, make_interpolate_request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.text_to_image import TextToImage


class Interpolate:
    """Temporal super-resolution of a video: encode, flow and refiner, decode.

        model.interpolate("in.mp4", times=3).save("out.mp4")
        model.interpolate.stream("in.mp4", times=3).save("out.mp4")  # of any length, with its sound

    The video is interpolated in windows as long as the cascade's clip (`ModelConfig.num_frames`),
    or as the video if that is shorter; neighbouring windows share a frame. The last window begins
    earlier where the video ends inside it; frames that the window before it has made are kept. The
    latents of the source's frames stay bit for bit; all frames are decoded.

    Args:
        codec: the encoder and decoders of the model.
        temporal_sr: the flow network and the refiner.
        images: the text-to-image model, for its text encoder.
        directory: where the parameters were read from, for error messages.
    """

    def __init__(
        self,
        codec: FrameCodec,
        temporal_sr: TemporalSR,
        images: TextToImage,
        directory: Path | None = None,
    ):
        self._codec, self._temporal_sr, self._images = codec, temporal_sr, images
        self._directory = directory

    @shows_options(InterpolateOptions)
    def __call__(
        self,
        video: OwnVideo,
        *,
        progress: bool | None = None,
        options: InterpolateOptions | None = None,
        **overrides: Unpack[InterpolateKeywords],
    ) -> Video:
        """Interpolates a video in memory; see `stream` for arguments and errors."""
        return self.stream(video, progress=progress, options=options, **overrides).read()

    @shows_options(InterpolateOptions)
    def stream(
        self,
        video: OwnVideo,
        *,
        progress: bool | None = None,
        options: InterpolateOptions | None = None,
        **overrides: Unpack[InterpolateKeywords],
    ) -> FrameStream:
        """Interpolates a video of any length in bounded memory: N frames to (N − 1)·2^times + 1.

        The work is done while the result is saved, or its frames are iterated over. Ctrl-C ends it
        after the current step, a second one at once.

        Args:
            video: a video file, a `Video`, or the result of a `stream` method.
            progress: whether to show a progress bar over frames; by default on a terminal and in
                a notebook.
            options: the options, by default `InterpolateOptions()`.
            **overrides: options by name, such as `times=3`; they take precedence over `options`.

        Raises:
            TypeError: an option name is unknown; lists the valid names.
            UserError: an argument is out of its range, no video can be read from the file, or it
                has one frame.
            MissingFile: the file, or a component that the call needs, is missing.
        """
        check_progress(progress)
        source = FrameStream.of(video)
        request = make_interpolate_request(self._codec.config, source, options, **overrides)
        require_components(self._codec.params, request.components(), self._directory)
        return FrameStream(
            lambda: each_within(self._codec, request, self._frames(source, request, progress)),
            request.rate,
            request.num_frames,
            request.size,
            source.sound,
            request.options.seed,
        )

    def _frames(
        self, source: FrameStream, request: InterpolateRequest, progress: bool | None
    ) -> Iterator[np.ndarray]:
        latents = self._codec.encode(source, request.size, request.multiple)
        denser = self.latents(latents, source, request)
        with bar(progress, "interpolating", request.num_frames, "frame") as tick:
            yield from self._codec.decode(
                denser, request.num_frames, request.size, request.options.decoder, tick
            )

    def latents(
        self, pieces: Iterator[np.ndarray], source: FrameStream, request: InterpolateRequest
    ) -> Iterator[np.ndarray]:
        """Interpolates latents `[1, F, H, W, Z]` that come in pieces, window by window."""
        options = request.options
        fps_B = self._put({"fps": np.full(1, source.fps, np.float32)})["fps"]
        empty_text = self._images.encode_empty(1) if options.refine else None
        sample_B = self._put({"sample": np.zeros(1, np.int32)})["sample"]
        keys_B = noise.sample_keys(np.uint32(options.seed), sample_B)
        starts = interpolation_starts(source.num_frames, request.window)
        made = 0  # frames of the result
        for index, window_BFHWZ in enumerate(frame_windows(pieces, starts, request.window)):
            denser_BFHWZ = self._temporal_sr(
                self._codec.params,
                self._put({"video": window_BFHWZ})["video"],
                fps_B,
                empty_text,
                noise.fold_in(keys_B, index),
                request.times,
                interpolation=options.interpolation,
                refine=options.refine,
                strength=options.refine_strength,
                steps=request.steps,
                sampler=request.sampler,
                tick=lambda count: interrupts.check(),
            )
            new = sharding.to_host(denser_BFHWZ)[:1, made - starts[index] * 2**request.times :]
            made += new.shape[1]
            yield new

    def _put(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        return sharding.put_whole_batch(self._codec.mesh, batch)


def interpolation_starts(num_frames: int, window: int) -> list[int]:
    """Returns the first frames of windows that share their end frames and cover a clip.

    The last one ends with the clip, so that all are equally long. Each `window` is of 2 frames at
    least, and not longer than the clip.
    """
    starts = list(range(0, num_frames - window + 1, window - 1))
    if starts[-1] + window < num_frames:
        starts.append(num_frames - window)
    return starts
