"""Orientation of pictures: the eight turns and mirror images of a display matrix.

Shape letters: H height, W width; a trailing 3 are RGB channels.
"""

from collections.abc import Sequence

import numpy as np

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]  # display matrix of an upright picture


def orient(frame_HW3: np.ndarray, matrix: Sequence[float]) -> np.ndarray:
    """Turns and mirrors a stored picture as its display matrix says, as ffmpeg does by default.

    Any other angle is rounded to the nearest quarter turn, so that no corner is empty. A matrix
    without an inverse changes nothing.

    Args:
        matrix: the nine numbers (a, b, u, c, d, v, x, y, w) of QuickTime's and FFmpeg's display
            matrix; the pixel (p, q) of the stored picture, q downwards, is shown at
            (a p + c q + x, b p + d q + y).

    Returns:
        a view of the frame, [H, W, 3] or [W, H, 3].
    """
    a, b, _, c, d = (float(value) for value in matrix[:5])
    if a * d == b * c:
        return frame_HW3
    # The larger part of the first column, each row at its own scale.
    if abs(b) * np.hypot(a, c) > abs(a) * np.hypot(b, d):
        frame_HW3, right, down = frame_HW3.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return frame_HW3[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
