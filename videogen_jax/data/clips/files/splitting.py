"""Splitting of a file into the parts that become clips: its shots, and pieces of a fixed length.

Shots are found by PySceneDetect's `AdaptiveDetector`. It compares a frame's change of colour with
that of the frames around it, so fast motion is not a cut. Fades and dissolves are not found.
PySceneDetect gets the frames as this project decodes them: upright, with the times of `probe`.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from videogen_jax.data.clips import video as clip_video
from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.constant_rate import typical_step
from videogen_jax.data.clips.files.decoding import SAME_TIME, Losses, Media, Unreadable
from videogen_jax.data.clips.files.limits import FrameLimits, TimeLimit
from videogen_jax.data.clips.files.probe import Probe
from videogen_jax.data.clips.files.transcode import probe_part
from videogen_jax.errors import UserError

Part = tuple[float, float]  # start and end in seconds from the file's first frame

_SHORT_SIDE = 144  # pixels of the frames in which cuts are looked for


@dataclass(frozen=True)
class SplitConfig:
    """How a file, or the part of it that a list names, is split into clips.

    Attributes:
        split_shots: make a clip of every shot; needs the package scenedetect-headless.
        shot_threshold: how many times the mean change of the two frames before and after it a
            cut's change is at least.
        clip_seconds: cut what is longer, files or shots, into clips of this length; 0 cuts nothing.
        min_part_seconds: shorter shots, and remainders of cutting, are rejected as too short.
    """

    split_shots: bool = False
    shot_threshold: float = 3.0
    clip_seconds: float = 0.0
    min_part_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("shot_threshold", "clip_seconds", "min_part_seconds"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must be >= 0 and finite, got {value}")
        if 0 < self.clip_seconds < self.min_part_seconds:
            raise UserError(
                f"clip_seconds is {self.clip_seconds:g}, expected at least min_part_seconds "
                f"{self.min_part_seconds:g}: every clip would be too short"
            )

    def splits(self) -> bool:
        """Says whether files are split at all."""
        return self.split_shots or self.clip_seconds > 0


def split(
    media: Media, config: SplitConfig, clip: ClipConfig, start: float = 0.0, end: float = math.inf
) -> list[Part]:
    """Returns the parts of a file in order; together they are all of it.

    Args:
        media: a video file, or its bytes.
        config: how it is split.
        clip: the limits on what a file may ask for, as in `transcode`.
        start, end: what to split, in seconds from the first frame.

    Raises:
        Rejected: as `transcode`, for a file that cannot be read.
    """
    try:
        facts, times = probe_part(media, clip, start, end)
        starts = [float(times[0])]
        if config.split_shots:
            starts += [float(times[place]) for place in _cuts(media, facts, times, config, clip)]
    except Unreadable as error:
        raise Rejected(error.reason, error.detail) from error
    last = float(times[-1]) + typical_step(facts.times)
    shots = zip(starts, [*starts[1:], last], strict=True)
    return [part for shot in shots for part in _pieces(shot, config.clip_seconds)]


def check_length(part: Part, config: SplitConfig) -> None:
    """Raises Rejected if a part is shorter than `min_part_seconds`."""
    seconds = part[1] - part[0]
    if seconds < config.min_part_seconds - SAME_TIME:
        least = f"min_part_seconds {config.min_part_seconds:g}"
        raise Rejected("too_short", f"{seconds:.2f} s, below {least}")


def _pieces(shot: Part, seconds: float) -> Iterator[Part]:
    """Yields a shot in pieces of `seconds`, the last one shorter; whole if that is 0."""
    start, end = shot
    count = max(1, math.ceil((end - start - SAME_TIME) / seconds)) if seconds else 1
    for number in range(count):
        begin = start + number * seconds
        yield begin, end if number == count - 1 else begin + seconds


def _cuts(
    media: Media, facts: Probe, times: np.ndarray, config: SplitConfig, clip: ClipConfig
) -> list[int]:
    """Returns the indices in `times` of the frames with which a new shot begins."""
    from scenedetect import AdaptiveDetector, FrameTimecode

    detector = AdaptiveDetector(adaptive_threshold=config.shot_threshold, min_scene_len=1)
    check = FrameLimits(clip.max_pixels, clip.max_aspect).check
    first, last = facts.start + times[0], facts.start + times[-1] + 2 * SAME_TIME
    cuts = []
    frames = clip_video.frames(media, facts, Losses(), first, last, check)
    for seconds, frame_HW3 in TimeLimit(clip.max_work).over(frames):
        # Frames that cannot be decoded are missing, so a frame is known by its time.
        place = int(np.searchsorted(times, seconds - facts.start - SAME_TIME))
        found = detector.process_frame(FrameTimecode(place, 1.0), _small_bgr(frame_HW3))
        cuts += [cut.frame_num for cut in found]
    return sorted(set(cuts) - {0})


def _small_bgr(frame_HW3: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame_HW3.shape[:2]
    scale = min(1.0, _SHORT_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small_HW3 = cv2.resize(frame_HW3, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small_HW3, cv2.COLOR_RGB2BGR)
