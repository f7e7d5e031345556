"""Frames at a constant rate and of one size, from those of a file as they come.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from videogen_jax.data.clips.files.probe import Probe

_RATE_TOLERANCE = 0.1  # relative, between the rate in a file's header and that of its frames


def resample(
    timed: Iterator[tuple[float, np.ndarray]], rate: Fraction, length: float
) -> Iterator[np.ndarray]:
    """Yields frames at a constant `rate`: for each time k / rate the nearest source frame.

    Args:
        timed: (seconds from the first frame, frame), in order.
        length: seconds until the last frame ends; `round(length * rate)` frames are yielded, at
            least one.
    """
    total, emitted, held = max(1, round(length * float(rate))), 0, None
    for time, frame in timed:
        if held is not None:
            # Of two equally near frames the earlier one: at twice the rate each is shown twice.
            middle = (held[0] + time) / 2 + 1e-6
            while emitted < total and emitted / rate <= middle:
                yield held[1]
                emitted += 1
        held = (time, frame)
    while held is not None and emitted < total:
        yield held[1]
        emitted += 1


def typical_step(times: np.ndarray) -> float:
    """Returns the median number of seconds from a frame to the next."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def own_rate(facts: Probe) -> Fraction | None:
    """Returns the constant rate, in frames per second, that shows a file's frames once each.

    None if the file has one frame.
    """
    step = typical_step(facts.times)
    if step <= 0:
        return None
    rate = facts.rate or Fraction(0)
    # The header of a file with variable rate has the mean, which is too low for the moving parts.
    return rate if abs(float(rate) * step - 1) < _RATE_TOLERANCE else Fraction(1 / step)


def resized(frame_HW3: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a frame, bicubic and antialiased."""
    from PIL import Image

    if frame_HW3.shape[:2] == (height, width):
        return frame_HW3
    # Pillow widens its filter by the factor. OpenCV does not, and its INTER_AREA still aliases.
    image = Image.fromarray(np.ascontiguousarray(frame_HW3))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
