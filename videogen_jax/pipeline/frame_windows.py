"""Windows of the frames of a stream, of which no more is in memory than a window needs.

Letters: B samples, F frames; any axes after these.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


def frame_windows(pieces: Iterable[Any], starts: Sequence[int], window: int) -> Iterator[Any]:
    """Yields the windows of the clip that consists of `pieces`, one after the other.

    Args:
        pieces: arrays `[B, F, ...]` of any numbers of frames; JAX arrays come out as NumPy's where
            a window is in several pieces.
        starts: first frame of each window, rising.
        window: frames of a window.

    Raises:
        ValueError: the pieces end before a window does.
    """
    source, held, first = iter(pieces), None, 0  # `first` is the number of the first frame held
    for start in starts:
        while held is None or first + held.shape[1] < start + window:
            piece = next(source, None)
            if piece is None:
                raise ValueError(f"the clip ends before frame {start + window - 1}")
            held = piece if held is None else np.concatenate([held, piece], axis=1)
            dropped = min(max(start - first, 0), held.shape[1])
            if dropped:
                held, first = held[:, dropped:], first + dropped
        yield held[:, start - first : start - first + window]
    next(source, None)  # a generator does what it does after its last item
