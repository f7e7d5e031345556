"""Windows of real clips: a source of examples from an ingested dataset.

Shape letters: N clips, F frames, H height, W width; a trailing 3 are RGB channels.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from videogen_jax.data.clips.aspect_buckets import Size, assign, crop, name_of
from videogen_jax.data.clips.heap import give_back_memory
from videogen_jax.data.clips.records import Clips, DamagedRecord
from videogen_jax.data.clips.video import decode_window
from videogen_jax.data.rates import Fps, check_fps, describe, draw, strides
from videogen_jax.errors import UserError

_log = logging.getLogger(__name__)

Part = Literal["train", "validation", "all"]
_NAMED_IN_ERROR = 3
_TRIM_EVERY = 256  # windows, about


class ClipWindows:
    """A source of one window of frames per clip of a dataset, a different one in each epoch.

    Start, caption and crop are a function of (seed, index, epoch). A damaged clip is reported on
    stderr and replaced with the next one: all other examples keep their indices.

    Args:
        dataset: the clips.
        num_frames: frames per window; 1 for images.
        resolution: height and width in pixels.
        buckets: sizes of which each clip takes one (`aspect_buckets.assign`), in place of squares.
        bucket: the place in `buckets` of the size whose clips these are.
        fps: desired rate of the window. The actual rate, in the example, is the clip's own divided
            by the nearest whole number. Two values: the lowest and the highest rate; each window
            draws one of the clip's in between. None: each clip's own.
        part: "validation" for the last clips of the dataset, "train" for the others, or "all".
        held_back: largest number of validation clips; at most a tenth of the dataset, at least one.
        random_crop: crop anywhere along the side that is too long, not from the middle.
        max_damaged: fraction of the clips that may be damaged.
        seed: seed of the windows.

    Attributes:
        clips_N: indices in the dataset of the clips that are long and large enough.
        excluded: number of the other clips of this part.
        damaged: error messages by index of the clips found damaged so far in this process.

    Raises:
        UserError: an argument is out of range, or no clip is usable.
    """

    def __init__(
        self,
        dataset: Clips,
        num_frames: int,
        resolution: int,
        *,
        fps: Fps = None,
        part: Part = "train",
        held_back: int = 8,
        random_crop: bool = False,
        max_damaged: float = 0.01,
        seed: int = 0,
        buckets: Sequence[Size] = (),
        bucket: int = 0,
    ):
        _check_arguments(num_frames, resolution, fps, held_back, max_damaged)
        self._dataset, self._num_frames = dataset, num_frames
        squares = ((resolution, resolution),)
        self._size, self._in_buckets = (buckets or squares)[bucket], bool(buckets)
        self._random_crop, self._max_damaged, self._seed = random_crop, max_damaged, seed
        self._sizes_N = dataset.clip_sizes()
        frames_N, fps_N = self._sizes_N["num_frames"], self._sizes_N["fps"]
        self._smallest_N, self._largest_N = strides(fps, fps_N, frames_N, num_frames)
        numbers = _part(dataset, part, held_back)
        self._bucket_N = assign(self._sizes_N["h"], self._sizes_N["w"], buckets or squares)
        long_N = frames_N > (num_frames - 1) * self._smallest_N
        fits_N = long_N & (self._smallest_N <= self._largest_N) & (self._bucket_N == bucket)
        self.clips_N = numbers[fits_N[numbers]]
        self.excluded = len(numbers) - len(self.clips_N)
        self.damaged: dict[int, str] = {}
        if not len(self.clips_N):
            raise UserError(self._nothing_left(part, numbers, fps))

    def __len__(self) -> int:
        return len(self.clips_N)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns the example of a clip in an epoch.

        Returns:
            video uint8 [F, H, W, 3], fps float32, caption str, and index int32, the clip's index in
            the dataset.

        Raises:
            UserError: more clips are damaged than `max_damaged` allows; names some.
        """
        # IndexError ends `for example in source`.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in a source of {len(self)} clips")
        if index % _TRIM_EVERY == 0:
            give_back_memory()
        for place in range(index, index + len(self)):
            number = int(self.clips_N[place % len(self)])
            try:
                return self._window(number, np.random.default_rng([self._seed, index, epoch]))
            except DamagedRecord as error:
                # It is tried again next time: examples must not depend on earlier accesses.
                self._report(number, str(error))
        raise UserError(f"{self._dataset.directory}: every clip is damaged")

    def _window(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        stride = self._stride(number, rng)
        frames = int(self._sizes_N[number]["num_frames"])
        start = int(rng.integers(frames - (self._num_frames - 1) * stride))
        across = rng.random() if self._random_crop else 0.5
        record = self._dataset[number]
        try:
            video_FHW3 = decode_window(record.video, start, self._num_frames, stride)
        except DamagedRecord as error:
            where = f"{self._dataset.locate(number)} ({record.id!r})"
            raise DamagedRecord(f"{where}: {error}") from error
        captions = record.captions
        return {
            "video": crop(video_FHW3, self._size, across),
            "fps": np.float32(record.fps / stride),
            "caption": captions[rng.integers(len(captions))] if captions else "",
            "index": np.int32(number),
        }

    def _stride(self, number: int, rng: np.random.Generator) -> int:
        smallest, largest = int(self._smallest_N[number]), int(self._largest_N[number])
        if smallest == largest:
            return smallest
        return min(max(round(draw(smallest - 0.5, largest + 0.5, rng)), smallest), largest)

    def _report(self, number: int, message: str) -> None:
        if number in self.damaged:
            return
        self.damaged[number] = message
        count, all_clips = len(self.damaged), len(self)
        if count > self._max_damaged * all_clips:
            some = "; ".join(list(self.damaged.values())[:_NAMED_IN_ERROR])
            raise UserError(
                f"{self._dataset.directory}: {count} of {all_clips} clips are damaged, more than "
                f"max_damaged {self._max_damaged:g} allows: {some}"
            )
        text = f"damaged clip {count} of {all_clips}, another takes its place"
        _log.warning("%s: %s", text, message)

    def _nothing_left(self, part: Part, numbers: np.ndarray, fps: Fps) -> str:
        dataset = self._dataset
        if not len(numbers):
            return f"{dataset.directory}: its only clip is held back for validation; two are needed"
        starts_N = self._sizes_N["num_frames"] - (self._num_frames - 1) * self._smallest_N
        longest = int(numbers[np.argmax(starts_N[numbers])])
        size, which = self._sizes_N[longest], "" if part == "all" else f"{part} "
        return (
            f"{dataset.directory}: none of its {len(numbers)} {which}clips has {self._num_frames} "
            f"frames at {describe(fps)} fps and {self._pixels()}; the longest, "
            f"{dataset.locate(longest)}, has {size['num_frames']} frames at {size['fps']:g} fps "
            f"and {size['w']}x{size['h']} pixels{self._larger(numbers)}"
        )

    def _pixels(self) -> str:
        if self._in_buckets:
            return f"in the bucket {name_of(self._size)}"
        return f"{self._size[0]} pixels"

    def _larger(self, numbers: np.ndarray) -> str:
        """Says how to ingest clips of the resolution, if none of these clips has it."""
        sizes_N, pixels = self._sizes_N[numbers], min(self._size)
        if self._in_buckets or np.minimum(sizes_N["h"], sizes_N["w"]).max() >= pixels:
            return ""
        return (
            f". Make a dataset of larger clips: videogen ingest SOURCE OUT --short-side {pixels} "
            f"--min-side {pixels}"
        )


def square(video_FHW3: np.ndarray, size: int, across: float = 0.5) -> np.ndarray:
    """Crops the largest square of each frame and resizes it (bicubic, antialiased).

    Args:
        video_FHW3: uint8 [F, H, W, 3].
        size: height and width of the result in pixels.
        across: position of the square along the longer side, from 0 (top or left) to 1.

    Returns:
        uint8 [F, size, size, 3].
    """
    return crop(video_FHW3, (size, size), across)


def _part(dataset: Clips, part: Part, held_back: int) -> np.ndarray:
    """Returns the indices of a part's clips, which do not depend on the windows' arguments."""
    if part not in ("train", "validation", "all"):
        raise UserError(f"part must be 'train', 'validation' or 'all', got {part!r}")
    numbers = np.arange(len(dataset))
    if part == "all":
        return numbers
    border = len(dataset) - min(held_back, max(1, len(dataset) // 10))
    return numbers[:border] if part == "train" else numbers[border:]


def _check_arguments(
    num_frames: int, resolution: int, fps: Fps, held_back: int, max_damaged: float
) -> None:
    counts = {"num_frames": num_frames, "resolution": resolution, "held_back": held_back}
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name} must be >= 1, got {value}")
    check_fps(fps)
    if not 0 <= max_damaged <= 1:
        raise UserError(f"max_damaged must be from 0 to 1, got {max_damaged}")
