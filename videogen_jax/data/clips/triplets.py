"""Triplets of frames of real clips: both ends of a window and a frame between them (§3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_jax.data.loader import Source, example_at
from videogen_jax.errors import UserError


def check_triplet_frames(num_frames: int) -> None:
    """Raises UserError unless a window of this length has a frame half-way between its ends."""
    if num_frames < 3 or num_frames % 2 == 0:
        raise UserError(
            f"num_frames is {num_frames}, expected an odd number of at least 3: the flow trains on "
            "both ends of a window and a frame between them"
        )


def inner_frame(num_frames: int, seed: int, index: int, epoch: int) -> int:
    """Draws the position of a triplet's middle frame in its window, 1 .. num_frames - 2."""
    return int(np.random.default_rng([seed, index, epoch, 1]).integers(1, num_frames - 1))


def inner_times(num_frames: int) -> np.ndarray:
    """Returns the times of a window's inner frames, float32 [F - 2]; its ends are at 0 and 1."""
    return (np.arange(1, num_frames - 1) / (num_frames - 1)).astype(np.float32)


def with_time(example: Mapping[str, Any], place: int, num_frames: int) -> dict[str, Any]:
    """Returns a window's example with the time of its triplet, and the rate of the ends as `fps`.

    Args:
        example: contains `fps`, the window's rate.
        place: position of the middle frame, of `inner_frame`.
        num_frames: frames of the window.
    """
    fps = np.float32(example["fps"] / (num_frames - 1))
    return {**example, "time": inner_times(num_frames)[place - 1], "fps": fps}


@dataclass(frozen=True)
class Triplets:
    """A source's windows as triplets: the first frame, the last one, and any frame between them.

    The inner frame is a function of (seed, index, epoch). All inner frames are equally likely, so
    times other than one half are trained too, and the motion between the ends varies with the
    window's rate.

    Attributes:
        windows: source of examples with `video`, uint8 [F, H, W, 3], F odd and at least 3.
        seed: sources with different seeds take other frames of the same windows.
    """

    windows: Source
    seed: int = 0

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns a triplet.

        Returns:
            a, mid, b: uint8 [H, W, 3].
            time: float32, time of mid between a (0) and b (1).
            fps: float32, frame rate of a and b. The window's other entries are kept.
        """
        example = dict(example_at(self.windows, index, epoch))
        video_FHW3 = example.pop("video")
        num_frames = len(video_FHW3)
        check_triplet_frames(num_frames)
        place = inner_frame(num_frames, self.seed, index, epoch)
        example |= {"a": video_FHW3[0], "mid": video_FHW3[place], "b": video_FHW3[-1]}
        return with_time(example, place, num_frames)
