"""A video file of any length as a stream of frames: upright, of one size, at a constant rate.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from videogen_jax.data.clips import video as clip_video
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.constant_rate import own_rate, resample, typical_step
from videogen_jax.data.clips.files.decoding import Losses, Unreadable, open_video
from videogen_jax.data.clips.files.limits import FrameLimits, require_regular_file
from videogen_jax.data.clips.files.probe import Probe, probe
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.media.sound import Sound

_log = logging.getLogger(__name__)


class VideoFile:
    """A video file, decoded again from its beginning by every call of `frames`.

    In memory are a few frames, and the times of all; when the file is opened, also a few numbers
    for each packet. A file of variable rate is resampled as ingest does it. Orientation and pixel
    aspect are applied.

    Attributes:
        path: the file.
        rate: frames per second.
        num_frames: frames at that rate.
        height, width: pixels of a frame as it is shown.

    Raises:
        MissingFile: there is no such file.
        UserError: it has no video stream, or no frame of it can be decoded; names the file.
    """

    def __init__(self, path: Path):
        self.path = path
        limits = ClipConfig()
        self._check = FrameLimits(limits.max_pixels, limits.max_aspect).check
        with _naming(path):
            require_regular_file(path)
            self._facts = probe(path, self._check)
            first = next(self._timed(Losses()), None)
            if first is None:
                raise Unreadable("undecodable", "no frame can be decoded")
        self.height, self.width = first[1].shape[:2]
        rate = own_rate(self._facts) or self._facts.rate or Fraction(1)  # one frame has no rate
        self.rate = rate.limit_denominator(1001)
        self.num_frames = max(1, round(self._length * float(self.rate)))

    @property
    def _length(self) -> float:
        """Seconds until the last frame ends."""
        return float(self._facts.times[-1]) + typical_step(self._facts.times)

    def frames(self) -> Iterator[np.ndarray]:
        """Decodes all frames, uint8 [H, W, 3].

        For a frame that cannot be decoded the nearest other one is shown, with a warning at the
        end.

        Raises:
            UserError: the size of the frames changes; names the file.
        """
        losses = Losses()
        with _naming(self.path):
            yield from resample(self._timed(losses), self.rate, self._length)
        if losses.frames:
            _log.warning(
                "%s: frames that cannot be decoded: %d (%s); their neighbours are shown instead",
                self.path,
                losses.frames,
                losses.first_error or "damaged",
            )

    def _timed(self, losses: Losses) -> Iterator[tuple[float, np.ndarray]]:
        facts: Probe = self._facts
        size = None
        for time, frame_HW3 in clip_video.frames(self.path, facts, losses, check=self._check):
            if size not in (None, frame_HW3.shape):
                raise Unreadable("damaged", "the size of its frames changes")
            size = frame_HW3.shape
            yield time - facts.start, frame_HW3

    @contextmanager
    def sound(self) -> Iterator[Sound | None]:
        """Opens the file's sound, with the first frame at time 0; None if it has none."""
        with _naming(self.path), open_video(self.path) as (container, _, _):
            has_sound = bool(container.streams.audio)
            yield Sound(container, self._facts.start, str(self.path)) if has_sound else None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Adds the name of the file to errors about it."""
    try:
        yield
    except Unreadable as error:
        kind = MissingFile if error.reason == "missing_file" else UserError
        what = "" if kind is MissingFile else f"{path} is not a video that can be read: "
        raise kind(f"{what}{error.detail}") from error
