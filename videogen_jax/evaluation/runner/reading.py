"""Reading windows of video files and of folders of PNG frames.

Letters: F frames, H height, W width; `3` RGB channels, uint8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_jax.data.clips.files.decoding import Losses, Unreadable
from videogen_jax.data.clips.files.probe import Probe, probe
from videogen_jax.data.clips.video import frames
from videogen_jax.data.clips.windows import square
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.protocols import Place
from videogen_jax.media.image_files import load_image


@dataclass(frozen=True)
class Window:
    """Which frames of a video are scored, and at what size.

    Attributes:
        num_frames: Number of frames F.
        place: Where they begin; `random` is a function of `seed` and the video's index.
        fps: Frame rate, whose stride in a video is the nearest whole number; None for a stride of
            1.
        resolution: Height and width to which frames are cropped and resized; 0 leaves them.
        seed: Seed of random places.
    """

    num_frames: int
    place: Place = "first"
    fps: float | None = None
    resolution: int = 0
    seed: int = 0

    def stride(self, fps: float) -> int:
        """Returns the step between frames of a video of a frame rate."""
        return 1 if self.fps is None else max(1, round(fps / self.fps))

    def needed(self, fps: float) -> int:
        """Returns how many frames a video of a frame rate must have."""
        return (self.num_frames - 1) * self.stride(fps) + 1

    def frames_of(self, index: int, count: int, fps: float) -> range:
        """Returns the numbers of the frames of a video.

        Args:
            index: The video's index.
            count: Its number of frames, at least `needed`.
            fps: Its frame rate.
        """
        spare = count - self.needed(fps)
        if self.place == "random":
            start = int(np.random.default_rng([self.seed, index]).integers(spare + 1))
        else:
            start = spare // 2 if self.place == "middle" else 0
        return range(start, start + self.needed(fps), self.stride(fps))

    def fitted(self, video_FHW3: np.ndarray) -> np.ndarray:
        """Returns the middle square of the frames in the window's size, or the video itself."""
        return square(video_FHW3, self.resolution) if self.resolution else video_FHW3


def read_video(path: Path, window: Window, index: int) -> np.ndarray:
    """Reads the window of a video file or of a folder of PNG frames, uint8 [F, H, W, 3].

    Raises:
        UserError: The file cannot be read, or has too few frames; names it.
    """
    if path.is_dir():
        return _read_pngs(path, window, index)
    try:
        facts = probe(path)
        numbers = _numbers(path, window, index, len(facts.times), float(facts.rate or 0))
        found = list(_decoded(path, facts, numbers))
    except Unreadable as error:
        raise UserError(f"{path} cannot be read as a video: {error.detail}") from error
    if len(found) < len(numbers):
        raise UserError(f"{path} is damaged: it ends before frame {numbers[len(found)]}")
    return window.fitted(np.stack(found))


def _decoded(path: Path, facts: Probe, numbers: range) -> Iterator[np.ndarray]:
    losses = Losses()
    for number, (_, frame_HW3) in enumerate(frames(path, facts, losses)):
        if losses.frames:
            raise UserError(f"{path} is damaged: {losses.first_error or 'a frame is corrupt'}")
        if number in numbers:
            yield frame_HW3
        if number >= numbers[-1]:
            return


def _read_pngs(folder: Path, window: Window, index: int) -> np.ndarray:
    files = png_frames(folder)
    if window.fps is not None:
        raise UserError(
            f"{folder}: PNG frames have no frame rate, so that of windows cannot be set"
        )
    numbers = _numbers(folder, window, index, len(files), 0.0)
    return window.fitted(np.stack([load_image(files[number]) for number in numbers]))


def _numbers(path: Path, window: Window, index: int, count: int, fps: float) -> range:
    if count < window.needed(fps):
        raise UserError(f"{path} has {count} frames, expected {window.needed(fps)} or more")
    return window.frames_of(index, count, fps)


def png_frames(folder: Path) -> list[Path]:
    """Returns the PNG files of a folder, sorted by name."""
    return sorted(file for file in folder.glob("*.png") if not file.name.startswith("."))
