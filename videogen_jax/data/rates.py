"""The frame rate of training windows: one rate, or a range from which every window draws its own.

Letters: N clips.
"""

import math
from typing import TypeAlias

import numpy as np

from videogen_jax.errors import UserError

Fps: TypeAlias = float | tuple[float, float] | None
"""A rate in frames per second, the lowest and the highest of a range, or None for a clip's own."""

_ROUNDING = 2e-3  # relative; 30000/1001 frames per second count as 30


def check_fps(fps: Fps) -> None:
    """Raises UserError if a rate is not above 0 and finite, or a range is not from low to high."""
    rates = fps if isinstance(fps, tuple) else () if fps is None else (fps,)
    if not all(0 < rate < math.inf for rate in rates):
        raise UserError(f"fps must be > 0, got {describe(fps)}")
    if rates and rates[0] > rates[-1]:
        raise UserError(f"fps must be a range from low to high, got {describe(fps)}")


def describe(fps: Fps) -> str:
    """Returns the rate for messages, such as "8" or "4 to 16"."""
    if fps is None:
        return "their own"
    return " to ".join(f"{rate:g}" for rate in (fps if isinstance(fps, tuple) else (fps,)))


def draw(low: float, high: float, rng: np.random.Generator) -> float:
    """Draws a rate, or a stride, from `low` to `high`; every octave is equally likely."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def strides(
    fps: Fps, fps_N: np.ndarray, frames_N: np.ndarray, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest stride of each clip's windows, int64 [N].

    One rate has one stride, the nearest. A range has all strides whose rates are in it and whose
    windows are not longer than the clip; if it has none, the largest is below the smallest.

    Args:
        fps: the rate or range of the windows.
        fps_N: rates of the clips.
        frames_N: number of frames of the clips.
        num_frames: frames per window.
    """
    if not isinstance(fps, tuple):
        nearest_N = np.ones(len(fps_N)) if fps is None else np.maximum(1, np.rint(fps_N / fps))
        return nearest_N.astype(np.int64), nearest_N.astype(np.int64)
    low, high = fps
    smallest_N = np.maximum(1, np.ceil(fps_N / high * (1 - _ROUNDING))).astype(np.int64)
    largest_N = np.floor(fps_N / low * (1 + _ROUNDING)).astype(np.int64)
    return smallest_N, np.minimum(largest_N, (frames_N - 1) // max(1, num_frames - 1))
