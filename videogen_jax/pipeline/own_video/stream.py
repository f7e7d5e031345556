"""`FrameStream`: a video whose frames are made one after the other.

Shape suffixes: F frames, H height, W width, C = 3 colour channels (RGB); uint8 in [0, 255].
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from videogen_jax.data.clips.files.video_file import VideoFile
from videogen_jax.errors import WrongType
from videogen_jax.media.sound import Sound
from videogen_jax.media.video import Video
from videogen_jax.media.writers import write_video

_log = logging.getLogger(__name__)

_PREVIEW = 16  # frames of a contact sheet

OpenSound: TypeAlias = Callable[[], AbstractContextManager[Sound | None]]


class FrameStream:
    """A video whose frames are made one after the other, so that its length needs no memory.

    Iteration makes the frames, uint8 `[h, w, 3]`, and makes them again the next time.

    Args:
        frames: returns an iterator of the frames.
        rate: frames per second.
        num_frames: number of frames.
        size: height and width.
        sound: opens the sound that belongs to the frames; by default there is none.
        seed: seed of the noise.
    """

    def __init__(
        self,
        frames: Callable[[], Iterator[np.ndarray]],
        rate: Fraction,
        num_frames: int,
        size: tuple[int, int],
        sound: OpenSound = nullcontext,
        seed: int = 0,
    ):
        self._frames = frames
        self.rate, self.num_frames, self.size = rate, num_frames, size
        self.sound, self.seed = sound, seed
        self._preview: list[np.ndarray] = []

    @classmethod
    def of(cls, video: "OwnVideo") -> "FrameStream":
        """Opens a video file, or takes the frames of a video.

        Raises:
            WrongType: it is neither.
            MissingFile: there is no such file.
            UserError: no video can be read from the file.
        """
        if isinstance(video, FrameStream):
            return video
        if isinstance(video, Video):
            rate = Fraction(video.fps).limit_denominator(1001)
            num_frames, height, width, _ = video.frames.shape
            return cls(lambda: iter(video.frames), rate, num_frames, (height, width))
        if not isinstance(video, str | os.PathLike):
            wanted = "a video file, a Video or a FrameStream"
            raise WrongType(f"video is a {type(video).__name__}, expected {wanted}")
        file = VideoFile(Path(video))
        size = file.height, file.width
        return cls(file.frames, file.rate, file.num_frames, size, file.sound)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        count = min(self.num_frames, _PREVIEW)
        chosen = set(np.linspace(0, self.num_frames - 1, count).round().astype(int).tolist())
        self._preview = []
        for index, frame_HWC in enumerate(self._frames()):
            if index in chosen:
                self._preview.append(frame_HWC)
            yield frame_HWC

    def __repr__(self) -> str:
        height, width = self.size
        return f"{self.num_frames} frames of {width}x{height} at {self.fps:g} fps"

    def preview(self) -> Video:
        """Returns up to 16 frames, spread evenly, of those that the last iteration has made."""
        return Video(np.stack(self._preview), self.fps, seed=self.seed)

    def read(self) -> Video:
        """Makes all frames at once, in memory."""
        return Video(np.stack(list(self)), self.fps, seed=self.seed)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Makes the frames and writes them, atomically, in the format of the suffix.

        An `.mp4` gets the sound too. It and a folder of PNG frames are written frame by frame;
        `.gif` and `.webp` hold all frames in memory. See `Video.save`.

        Raises:
            UserError: as for `Video.save`, or the frames or the sound cannot be read.
        """
        path = Path(path)
        with self.sound() as sound:
            if sound is not None and path.suffix.lower() != ".mp4":
                _log.info("%s is written without the sound: only .mp4 has any", path)
            return write_video(path, self, self.fps, sound=sound)


OwnVideo: TypeAlias = str | os.PathLike[str] | Video | FrameStream
