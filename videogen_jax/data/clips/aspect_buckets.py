"""Aspect buckets: the sizes of windows of a run, of which each clip takes the nearest in shape.

Letters: N clips, F frames, H height, W width; a trailing 3 are RGB channels.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

Size = tuple[int, int]  # height and width in pixels


def name_of(size: Size) -> str:
    """Returns the name of a bucket, such as `48x80`."""
    return "x".join(map(str, size))


def assign(heights_N: np.ndarray, widths_N: np.ndarray, buckets: Sequence[Size]) -> np.ndarray:
    """Returns the bucket of each clip, int [N]; -1 for clips that are too small for every one.

    A clip goes to the bucket that is nearest in aspect ratio (by the ratio of both), of those that
    are not larger than the clip in height or width. Of equally near ones it takes the one with most
    pixels, and of these the first.

    Args:
        heights_N: heights of the clips.
        widths_N: their widths.
        buckets: heights and widths of the buckets.
    """
    sizes_K2 = np.array(buckets, np.float64).reshape(-1, 2)
    fits_NK = (heights_N[:, None] >= sizes_K2[:, 0]) & (widths_N[:, None] >= sizes_K2[:, 1])
    clip_N = np.log(widths_N.astype(np.float64) / heights_N)
    apart_NK = np.abs(clip_N[:, None] - np.log(sizes_K2[:, 1] / sizes_K2[:, 0]))
    apart_NK = np.where(fits_NK, apart_NK.round(9), np.inf)  # equal up to rounding
    pixels_K = sizes_K2.prod(axis=1)
    nearest_NK = apart_NK == apart_NK.min(axis=1, keepdims=True)
    chosen_N = np.where(nearest_NK, pixels_K, -1.0).argmax(axis=1)
    return np.where(fits_NK.any(axis=1), chosen_N, -1)


def crop(video_FHW3: np.ndarray, size: Size, across: float = 0.5) -> np.ndarray:
    """Crops the largest part of a size's aspect ratio and resizes it (bicubic, antialiased).

    Args:
        video_FHW3: uint8 [F, H, W, 3].
        size: height and width of the result in pixels.
        across: position of the part along the side that is cropped, from 0 (top or left) to 1.

    Returns:
        uint8 [F, *size, 3].
    """
    height, width = video_FHW3.shape[1:3]
    scale = min(height / size[0], width / size[1])
    part = min(height, round(size[0] * scale)), min(width, round(size[1] * scale))
    top, left = round((height - part[0]) * across), round((width - part[1]) * across)
    cut_FHW3 = video_FHW3[:, top : top + part[0], left : left + part[1]]
    if part == tuple(size):
        return np.ascontiguousarray(cut_FHW3)
    # Pillow widens its filter by the factor; OpenCV's aliases.
    frames = [Image.fromarray(np.ascontiguousarray(frame_HW3)) for frame_HW3 in cut_FHW3]
    to = (size[1], size[0])
    resized = [frame.resize(to, Image.Resampling.BICUBIC) for frame in frames]
    return np.stack([np.asarray(frame) for frame in resized])
