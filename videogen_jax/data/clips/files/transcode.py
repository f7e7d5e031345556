"""Transcoding of a video file to a normalised clip.

The file is read as a stream: whatever its length, only a few frames are in memory.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import functools
import math
import os
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from videogen_jax.data.clips import video as clip_video
from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.constant_rate import (
    own_rate,
    resample,
    resized,
    typical_step,
)
from videogen_jax.data.clips.files.decoding import SAME_TIME, Losses, Media, Unreadable
from videogen_jax.data.clips.files.judge import Judge
from videogen_jax.data.clips.files.limits import FrameLimits, TimeLimit, require_regular_file
from videogen_jax.data.clips.files.probe import Probe, probe


@dataclass(frozen=True)
class Clip:
    """A normalised clip: the bytes of its mp4 file, and what a `ClipRecord` says of it."""

    video: bytes
    fps: float
    num_frames: int
    h: int
    w: int
    start: float
    end: float


def transcode(media: Media, config: ClipConfig, start: float = 0.0, end: float = math.inf) -> Clip:
    """Decodes, checks, resamples, resizes and encodes one clip.

    Args:
        media: a video file, or its bytes.
        start, end: the part of it to take, in seconds from its first frame.

    Raises:
        Rejected: `reason` is missing_file, not_a_file (a folder, pipe or device), undecodable,
            no_video_stream, damaged, too_short, too_long, too_small, too_large, aspect, too_slow,
            static, scene_cut, outside (the part is not in the file), frame_count (the encoded
            clip does not decode to the same number of frames), or those of `motion` and `text`.
    """
    limit = TimeLimit(config.max_work)
    check = FrameLimits(config.max_pixels, config.max_aspect).check
    try:
        facts, times = probe_part(media, config, start, end)
        whole = (start, end) == (0.0, math.inf)
        expected = max(len(times), facts.declared if whole else 0)
        _check_losses(len(times), expected, Losses(), config)
        rate = _rate(facts, config)
        length = float(times[-1] - times[0]) + typical_step(facts.times)
        _check_length(length, rate, config)
        losses, judge = Losses(), Judge(config, length)
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
    judge.check_all()
    begin = float(times[0])
    return _verified(video, count, rate, begin, begin + length)


def probe_part(
    media: Media, config: ClipConfig, start: float, end: float
) -> tuple[Probe, np.ndarray]:
    """Returns the facts about a file, and the times of its frames from `start` to `end`.

    Raises:
        Unreadable: see `probe`, `require_regular_file` and `FrameLimits`.
        Rejected: "outside", there are no such frames.
    """
    limits = FrameLimits(config.max_pixels, config.max_aspect)
    if isinstance(media, bytes):
        facts = probe(media, limits.check)
    else:
        require_regular_file(media)
        status = os.stat(media)
        facts = _probe_of(str(media), status.st_size, status.st_mtime_ns, limits)
    is_inside = (facts.times >= start - SAME_TIME) & (facts.times < end - SAME_TIME)
    if not is_inside.any():
        raise Rejected("outside", f"no frame from {start:g} to {end:g} s")
    return facts, facts.times[is_inside]


@functools.lru_cache(maxsize=8)
def _probe_of(path: str, size: int, changed: int, limits: FrameLimits) -> Probe:
    """Probes a file, which reads all of it; a file's parts come one after another."""
    return probe(path, limits.check)


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


def _verified(video: bytes, count: int, rate: Fraction, start: float, end: float) -> Clip:
    """Returns the clip after checking that its bytes decode to the number of encoded frames."""
    losses, decoded, h, w = Losses(), 0, 0, 0
    for _, frame_HW3 in clip_video.frames(video, probe(video), losses):
        decoded, (h, w) = decoded + 1, frame_HW3.shape[:2]
    if decoded != count or losses.frames:
        raise Rejected("frame_count", f"{count} frames were encoded, {decoded} decode")
    return Clip(video, float(rate), count, h, w, start, end)
