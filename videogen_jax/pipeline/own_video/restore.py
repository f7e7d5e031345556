"""Restoration of one's own videos by the video decoder (§3.4), available as `VideoGen.restore`.

Shape suffixes: H height, W width, C = 3 colour channels; uint8 in [0, 255].
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import numpy as np

from videogen_jax import layout
from videogen_jax.media.video import Video
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.interrupts import interruptible
from videogen_jax.pipeline.own_video.codec import FrameCodec
from videogen_jax.pipeline.own_video.stream import FrameStream, OwnVideo
from videogen_jax.pipeline.placement import Turns
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.requests.checks import check_progress
from videogen_jax.pipeline.requests.keywords import RestoreKeywords
from videogen_jax.pipeline.requests.options import RestoreOptions, shows_options
from videogen_jax.pipeline.requests.own_video import RestoreRequest, make_restore_request


class Restore:
    """Encodes a video and decodes it with the video decoder, which is trained on degraded clips.

        model.restore("in.mp4").save("out.mp4")
        model.restore.stream("in.mp4").save("out.mp4")  # of any length, with its sound

    Frames are encoded one by one and decoded in overlapping windows.

    Args:
        codec: the encoder and decoders of the model.
        directory: where its parameters were read from, for error messages.
    """

    def __init__(self, codec: FrameCodec, directory: Path | None = None):
        self._codec, self._directory = codec, directory

    @shows_options(RestoreOptions)
    def __call__(
        self,
        video: OwnVideo,
        *,
        progress: bool | None = None,
        options: RestoreOptions | None = None,
        **overrides: Unpack[RestoreKeywords],
    ) -> Video:
        """Restores a video in memory; see `stream` for arguments and errors."""
        return self.stream(video, progress=progress, options=options, **overrides).read()

    @shows_options(RestoreOptions)
    def stream(
        self,
        video: OwnVideo,
        *,
        progress: bool | None = None,
        options: RestoreOptions | None = None,
        **overrides: Unpack[RestoreKeywords],
    ) -> FrameStream:
        """Restores a video of any length in bounded memory.

        The work is done while the result is saved, or its frames are iterated over. Ctrl-C ends it
        after the current window, a second one at once.

        Args:
            video: a video file, a `Video`, or the result of a `stream` method.
            progress: whether to show a progress bar over frames; by default on a terminal and in
                a notebook.
            options: the options, by default `RestoreOptions()`.
            **overrides: options by name; they take precedence over `options`.

        Raises:
            TypeError: an option name is unknown; lists the valid names.
            UserError: an argument is out of its range, or no video can be read from the file.
            MissingFile: the file, or a component that the call needs, is missing.
        """
        check_progress(progress)
        source = FrameStream.of(video)
        request = make_restore_request(self._codec.config, source, options, **overrides)
        require_components(self._codec.params, request.components(), self._directory)
        return FrameStream(
            lambda: each_within(self._codec, request, self._frames(source, request, progress)),
            request.rate,
            request.num_frames,
            request.size,
            source.sound,
        )

    def _frames(
        self, source: FrameStream, request: RestoreRequest, progress: bool | None
    ) -> Iterator[np.ndarray]:
        latents = self._codec.encode(source, request.size, request.multiple)
        with bar(progress, "restoring", request.num_frames, "frame") as tick:
            yield from self._codec.decode(
                latents, request.num_frames, request.size, request.options.decoder, tick
            )


def each_within(
    codec: FrameCodec, request: RestoreRequest, frames: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    """Makes each frame on the devices of a codec, with a request's components, and interruptibly.

    Devices and interrupts only while a frame is made: what is done with it belongs to the caller.
    """
    turns = Turns(codec.params, (tuple(request.components()),))
    turns.advance()
    while True:
        with interruptible(), layout.activate(codec.mesh):
            frame_HWC = next(frames, None)
        if frame_HWC is None:
            turns.finish()
            return
        yield frame_HWC
