"""Checks of a clip's frames while they pass: size, stillness, cuts, motion and text.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import numpy as np

from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.motion import MotionMeter
from videogen_jax.data.clips.files.text_boxes import TextMeter

_THUMBNAIL = 32  # side in pixels of the thumbnails in which static clips and cuts are detected
_STATIC_LEVELS = 4.0  # of 255, change of a thumbnail's pixel by compression of a still picture
_CUT_LEVELS = 24.0  # of 255, mean change from a frame to the next
_CUT_RATIO = 4.0  # of that change to the previous one: in fast motion all changes are alike


class Judge:
    """Checks the frames of one clip, each by `see`, and then the clip by `check_all`.

    Args:
        config: which clips are rejected.
        seconds: length of the clip.
    """

    def __init__(self, config: ClipConfig, seconds: float):
        self._config = config
        self._first = self._last = None
        self._largest_change, self._change = 0.0, 0.0
        self._size = None
        self._motion = MotionMeter() if config.min_motion or config.max_shake else None
        self._text = TextMeter(seconds) if config.max_text < 1 else None
        self.frames = 0

    def see(self, time: float, frame_HW3: np.ndarray) -> tuple[float, np.ndarray]:
        """Checks a frame at `time`, in seconds from the first; returns both, or raises Rejected."""
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
            self._largest_change = max(
                self._largest_change, float(np.abs(thumbnail - self._first).max())
            )
        for meter in (self._motion, self._text):
            if meter is not None:
                meter.see(time, frame_HW3)
        self._last, self._size = thumbnail, size
        self.frames += 1
        return time, frame_HW3

    def check_all(self) -> None:
        """Raises Rejected for a clip that is static, has too little motion, shakes or has text."""
        config = self._config
        if config.reject_static and self._largest_change < _STATIC_LEVELS:
            largest = f"{self._largest_change:.1f}"
            raise Rejected("static", f"nothing changes by more than {largest} of 255")
        if self._motion is not None:
            motion, shake = self._motion.result()
            if motion < config.min_motion:
                raise Rejected("motion", f"{motion:.2f}, below min_motion {config.min_motion:g}")
            if 0 < config.max_shake < shake:
                raise Rejected("shake", f"{shake:.1f}, above max_shake {config.max_shake:g}")
        if self._text is not None and (area := self._text.result()) > config.max_text:
            raise Rejected("text", f"{area:.4f} of the frame, above max_text {config.max_text:g}")
