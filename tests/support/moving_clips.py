"""Clips in which a coloured picture moves, and films with cuts between several of them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests.support.numbered_clips import write_frames

H, W = 48, 64
COLOURS = ((200, 60, 40), (40, 180, 70), (50, 70, 210), (220, 200, 60))


@cache
def texture(side: int, seed: int = 0) -> np.ndarray:
    """Returns a picture of smooth blobs, uint8 [side, side, 3]."""
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    levels = 128 + 60 * smooth / smooth.std()
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def shot(number: int, count: int) -> list[np.ndarray]:
    """Returns the frames of a slow pan over a picture of a colour of its own, uint8 [H, W, 3]."""
    picture = texture(96 + count, number) // 3 + np.array(COLOURS[number], np.uint8) // 2
    return [picture[10 : 10 + H, k // 2 : k // 2 + W] for k in range(count)]


def write_shots(path: Path, counts: Sequence[int], **options) -> Path:
    """Writes a film of shots with these numbers of frames."""
    frames = [frame for number, count in enumerate(counts) for frame in shot(number, count)]
    write_frames(path, frames, **options)
    return path
