"""How much a clip moves, and how much its camera shakes, by optical flow of small grey frames.

OpenCV's DIS flow (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search") is computed
between frames an eighth of a second apart. Both measures are in percent of the frame's short side
per second: they depend neither on the file's size nor on its rate.

Shape letters: H height, W width; a trailing 2 are x and y, a trailing 3 are RGB channels, uint8.
"""

from typing import Any

import numpy as np

_STEP = 1 / 8  # seconds
_SHORT_SIDE = 128  # pixels
_SAME = 1e-3  # seconds, by which times in a file are rounded


class MotionMeter:
    """Measures a clip, frame by frame.

    Motion is the mean length of the flow over all pixels and steps. The camera's velocity is the
    median of a step's flow over all pixels; shake is the mean length of its change from one step to
    the next. So a steady pan has motion and no shake.
    """

    def __init__(self) -> None:
        self._flow: Any = None
        self._last: tuple[float, np.ndarray] | None = None
        self._next = 0.0
        self._lengths: list[float] = []
        self._cameras: list[np.ndarray] = []

    def see(self, time: float, frame_HW3: np.ndarray) -> None:
        """Takes a frame at `time`, in seconds from the first, if a step has passed since the last.

        Frames come in order. At a lower rate than that of the steps, every frame is taken.
        """
        import cv2

        if time < self._next - _SAME:
            return
        self._next = time + _STEP
        grey_HW = _small_grey(frame_HW3)
        if self._last is not None:
            if self._flow is None:
                self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            before, before_HW = self._last
            flow_HW2 = self._flow.calc(before_HW, grey_HW, None)
            unit = 100 / min(grey_HW.shape) / (time - before)
            self._lengths.append(unit * float(np.linalg.norm(flow_HW2, axis=-1).mean()))
            self._cameras.append(unit * np.median(flow_HW2, axis=(0, 1)))
        self._last = (time, grey_HW)

    def result(self) -> tuple[float, float]:
        """Returns motion and shake; 0 where there are too few frames."""
        motion = float(np.mean(self._lengths)) if self._lengths else 0.0
        changes = np.diff(np.array(self._cameras).reshape(-1, 2), axis=0)
        shake = float(np.linalg.norm(changes, axis=-1).mean()) if len(changes) else 0.0
        return motion, shake


def _small_grey(frame_HW3: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame_HW3.shape[:2]
    scale = _SHORT_SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.cvtColor(cv2.resize(frame_HW3, size, interpolation=method), cv2.COLOR_RGB2GRAY)
