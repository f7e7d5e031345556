"""How much of a clip is covered by text that stays, such as a watermark, a logo or subtitles.

The detector is that of RapidOCR (PP-OCR's detection network, 10 MB, which its package contains), on
the CPU. Nothing is read, only where text is.

Shape letters: H height, W width, P corners of a box; a trailing 2 are x and y, a trailing 3 are RGB
channels, uint8.
"""

import threading
from typing import Any

import numpy as np

_PLACES = (1 / 6, 1 / 2, 5 / 6)  # of the clip's length, where frames are looked at
_STAYS = 2  # text covers a pixel if it does in this many of them
_SHORT_SIDE = 480  # pixels to which larger frames are shrunk
# Where there is no text, the network may take the whole frame, or a large part of it, for a line.
_LARGEST_BOX = 1 / 4  # of the frame's height, between the long sides of a box
_LEAST_SCORE = 0.6

_of_thread = threading.local()  # a detector is not for use in two threads


class TextMeter:
    """Measures a clip, frame by frame.

    Args:
        seconds: length of the clip.
    """

    def __init__(self, seconds: float):
        self._times = [place * seconds for place in _PLACES]
        self._covered: list[np.ndarray] = []

    def see(self, time: float, frame_HW3: np.ndarray) -> None:
        """Takes a frame at `time`, in seconds from the first, if it is the next to look at."""
        if len(self._covered) < len(_PLACES) and time >= self._times[len(self._covered)]:
            self._covered.append(text_mask(frame_HW3))

    def result(self) -> float:
        """Returns the fraction of the frame that is covered by text that stays, 0 to 1."""
        if not self._covered:
            return 0.0
        needed = min(_STAYS, len(self._covered))
        return float((np.sum(self._covered, axis=0) >= needed).mean())


def text_mask(frame_HW3: np.ndarray) -> np.ndarray:
    """Returns which pixels of a frame, shrunk to `_SHORT_SIDE`, are in a box of text, bool [H, W].

    Raises:
        ModuleNotFoundError: RapidOCR or ONNX Runtime is not installed.
    """
    import cv2

    height, width = frame_HW3.shape[:2]
    scale = min(1.0, _SHORT_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small_HW3 = cv2.resize(frame_HW3, size, interpolation=cv2.INTER_AREA)
    found = _detector()(cv2.cvtColor(small_HW3, cv2.COLOR_RGB2BGR), use_det=True)
    mask_HW = np.zeros(small_HW3.shape[:2], np.uint8)
    for box_P2 in () if found.boxes is None else found.boxes:
        box_P2 = np.asarray(box_P2, np.float32)
        if min(cv2.minAreaRect(box_P2)[1]) <= _LARGEST_BOX * size[1]:
            cv2.fillPoly(mask_HW, [np.rint(box_P2).astype(np.int32)], (1,))
    return mask_HW.astype(bool)


def _detector() -> Any:
    """Returns this thread's detector."""
    if not hasattr(_of_thread, "detector"):
        import onnxruntime  # noqa: F401  # pyright: ignore[reportMissingImports]
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]

        _of_thread.detector = RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.use_rec": False,
                "Global.log_level": "error",
                "Det.box_thresh": _LEAST_SCORE,
                "Det.limit_side_len": _SHORT_SIDE,
                # Clips are worked on in parallel.
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
    return _of_thread.detector
