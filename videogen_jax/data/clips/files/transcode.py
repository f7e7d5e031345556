"""Transcoding of a video file to a normalised clip.

The file is read as a stream: whatever its length, only a few frames are in memory.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import math
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np

from videogen_jax.data.clips import video as clip_video
from videogen_jax.data.clips.files.constant_rate import (
    own_rate,
    resample,
    resized,
    typical_step,
)
from videogen_jax.data.clips.files.decoding import SAME_TIME, Losses, Media, Unreadable
from videogen_jax.data.clips.files.limits import FrameLimits, TimeLimit, require_regular_file
from videogen_jax.data.clips.files.probe import Probe, probe
from videogen_jax.errors import UserError

_THUMBNAIL = 32  # side in pixels of the thumbnails in which static clips and cuts are detected
_STATIC_LEVELS = 4.0  # of 255, change of a thumbnail's pixel by compression of a still picture
_CUT_LEVELS = 24.0  # of 255, mean change from a frame to the next
_CUT_RATIO = 4.0  # of that change to the previous one: in fast motion all changes are alike


@dataclass(frozen=True)
class ClipConfig:
    """How clips are transcoded, and which are rejected.

    Attributes:
        short_side: pixels to which the shorter side is shrunk (antialiased); never enlarged.
        fps: frames per second of all clips; None keeps each file's own, made constant.
        max_fps: largest rate that `fps=None` keeps; faster files are reduced to it.
        min_frames: clips with fewer frames, at the new rate, are rejected.
        max_seconds: longer clips are rejected; 0 rejects none.
        min_side: files whose shorter side has fewer pixels are rejected.
        reject_static: reject clips in which nothing moves.
        reject_cuts: reject clips with a scene cut inside.
        max_lost: clips with a larger fraction of damaged frames are rejected.
        crf: constant rate factor of H.264, 0 (lossless) to 51.
        gop: largest number of frames from a key frame to the next.
        max_pixels: files with more pixels in a frame, as stored or as displayed, are rejected.
        max_aspect: files whose longer side, as displayed, is more than this many times the shorter
            one are rejected.
        max_work: clips that take more seconds of work are rejected; 0 rejects none.
    """

    short_side: int = 256
    fps: float | None = None
    max_fps: float = 60.0
    min_frames: int = 16
    max_seconds: float = 300.0
    min_side: int = 128
    reject_static: bool = True
    reject_cuts: bool = False
    max_lost: float = 0.05
    crf: int = 18
    gop: int = 12
    max_pixels: int = 40_000_000
    max_aspect: float = 8.0
    max_work: float = 3600.0

    def __post_init__(self) -> None:
        ranges = {
            "short_side": (2, math.inf),
            "fps": (0.1, 1000),
            "max_fps": (0.1, 1000),
            "min_frames": (1, math.inf),
            "max_seconds": (0, math.inf),
            "min_side": (2, math.inf),
            "max_lost": (0, 1),
            "crf": (0, 51),
            "gop": (1, math.inf),
            "max_pixels": (4, math.inf),
            "max_aspect": (1, math.inf),
            "max_work": (0, math.inf),
        }
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ranges or value is None:
                continue
            low, high = ranges[item.name]
            if not low <= value <= high:
                raise UserError(f"{item.name} must be from {low} to {high}, got {value}")


@dataclass(frozen=True)
class Clip:
    """A normalised clip: the bytes of its mp4 file, frames per second, and sizes."""

    video: bytes
    fps: float
    num_frames: int
    h: int
    w: int


class Rejected(UserError):
    """A rejected clip; `reason` is one word for the report."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def transcode(media: Media, config: ClipConfig, start: float = 0.0, end: float = math.inf) -> Clip:
    """Decodes, checks, resamples, resizes and encodes one clip.

    Args:
        media: a video file, or its bytes.
        start, end: the part of it to take, in seconds from its first frame.

    Raises:
        Rejected: `reason` is missing_file, not_a_file (a folder, pipe or device), undecodable,
            no_video_stream, damaged, too_short, too_long, too_small, too_large, aspect, too_slow,
            static, scene_cut, outside (the part is not in the file) or frame_count (the encoded
            clip does not decode to the same number of frames).
    """
    limit = TimeLimit(config.max_work)
    check = FrameLimits(config.max_pixels, config.max_aspect).check
    try:
        if not isinstance(media, bytes):
            require_regular_file(media)
        facts = probe(media, check)
        is_inside = (facts.times >= start - SAME_TIME) & (facts.times < end - SAME_TIME)
        times = facts.times[is_inside]
        if not len(times):
            raise Rejected("outside", f"no frame from {start:g} to {end:g} s")
        whole = (start, end) == (0.0, math.inf)
        expected = max(len(times), facts.declared if whole else 0)
        _check_losses(len(times), expected, Losses(), config)
        rate = _rate(facts, config)
        length = times[-1] - times[0] + typical_step(facts.times)
        _check_length(length, rate, config)
        losses, judge = Losses(), _Judge(config)
        first = facts.start + times[0]
        timed = limit.over(clip_video.frames(media, facts, losses, first, facts.start + end, check))
        shown = (judge.see(time - first, frame_HW3) for time, frame_HW3 in timed)
        resampled = limit.over(resample(shown, rate, length))
        video, count = clip_video.encode(
            (_fit(frame_HW3, config.short_side) for frame_HW3 in resampled),
            rate,
            config.crf,
            config.gop,
        )
    except Unreadable as error:
        raise Rejected(error.reason, error.detail) from error
    _check_losses(judge.frames, expected, losses, config)
    judge.check_motion()
    return _verified(video, count, rate)


def _rate(facts: Probe, config: ClipConfig) -> Fraction:
    """Returns the constant rate of the clip: as configured, or the file's own."""
    if config.fps is not None:
        return Fraction(config.fps).limit_denominator(1001)
    rate = own_rate(facts)
    if rate is None:
        raise Rejected("too_short", "1 frame")
    return min(rate, Fraction(config.max_fps)).limit_denominator(1001)


def _check_length(seconds: float, rate: Fraction, config: ClipConfig) -> None:
    count = max(1, round(seconds * float(rate)))
    if count < config.min_frames:
        raise Rejected("too_short", f"{count} frames at {float(rate):g} fps")
    if config.max_seconds and seconds > config.max_seconds:
        raise Rejected("too_long", f"{seconds:.1f} s")


def _check_losses(decoded: int, expected: int, losses: Losses, config: ClipConfig) -> None:
    lost = max(losses.frames, expected - decoded)
    if not decoded or lost > config.max_lost * expected:
        cause = f" ({losses.first_error})" if losses.first_error else ""
        reason = "damaged" if decoded else "undecodable"
        raise Rejected(reason, f"{lost} of {expected} frames cannot be decoded{cause}")


def _fit(frame_HW3: np.ndarray, short_side: int) -> np.ndarray:
    """Shrinks a frame to the short side if it is larger, and makes odd sides even."""
    height, width = frame_HW3.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return frame_HW3[: height // 2 * 2, : width // 2 * 2]
    height, width = (max(2, 2 * round(side * scale / 2)) for side in (height, width))
    return resized(frame_HW3, height, width)


class _Judge:
    """Check of a stream of frames for size, motion and cuts."""

    def __init__(self, config: ClipConfig):
        self._config = config
        self._first = self._last = None
        self._motion, self._change = 0.0, 0.0
        self._size = None
        self.frames = 0

    def see(self, time: float, frame_HW3: np.ndarray) -> tuple[float, np.ndarray]:
        """Checks a frame; returns its arguments, or raises Rejected."""
        import cv2

        size = frame_HW3.shape[:2]
        if min(size) < self._config.min_side:
            raise Rejected("too_small", f"{size[1]}x{size[0]} pixels")
        if self._size not in (None, size):
            raise Rejected("damaged", f"the size changes from {self._size} to {size}")
        thumbnail = cv2.resize(frame_HW3, (_THUMBNAIL,) * 2, interpolation=cv2.INTER_AREA)
        thumbnail = thumbnail.astype(np.float32)
        if self._first is None or self._last is None:
            self._first = thumbnail
        else:
            change = float(np.abs(thumbnail - self._last).mean())
            is_cut = change > _CUT_LEVELS and change > _CUT_RATIO * self._change
            if self._config.reject_cuts and self.frames > 1 and is_cut:
                raise Rejected("scene_cut", f"at {time:.2f} s")
            self._change = change
            self._motion = max(self._motion, float(np.abs(thumbnail - self._first).max()))
        self._last, self._size = thumbnail, size
        self.frames += 1
        return time, frame_HW3

    def check_motion(self) -> None:
        if self._config.reject_static and self._motion < _STATIC_LEVELS:
            raise Rejected("static", f"nothing changes by more than {self._motion:.1f} of 255")


def _verified(video: bytes, count: int, rate: Fraction) -> Clip:
    """Returns the clip after checking that its bytes decode to the number of encoded frames."""
    losses, decoded, size = Losses(), 0, (0, 0)
    for _, frame_HW3 in clip_video.frames(video, probe(video), losses):
        decoded, size = decoded + 1, frame_HW3.shape[:2]
    if decoded != count or losses.frames:
        raise Rejected("frame_count", f"{count} frames were encoded, {decoded} decode")
    return Clip(video, float(rate), count, *size)
