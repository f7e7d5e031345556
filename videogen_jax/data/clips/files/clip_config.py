"""How one file becomes a clip, and the rejection of one that does not."""

import math
from dataclasses import dataclass, fields

from videogen_jax.errors import UserError


@dataclass(frozen=True)
class ClipConfig:
    """How clips are transcoded, and which are rejected.

    Attributes:
        short_side: pixels to which the shorter side is shrunk (antialiased); never enlarged.
        fps: frames per second of all clips; None keeps each file's own, made constant.
        max_fps: largest rate that `fps=None` keeps; faster files are reduced to it.
        min_frames: clips with fewer frames, at the new rate, are rejected.
        max_seconds: longer clips are rejected; 0 rejects none.
        min_side: files whose shorter side has fewer pixels are rejected.
        reject_static: reject clips in which nothing moves.
        reject_cuts: reject clips with a scene cut inside.
        max_lost: clips with a larger fraction of damaged frames are rejected.
        crf: constant rate factor of H.264, 0 (lossless) to 51.
        gop: largest number of frames from a key frame to the next.
        max_pixels: files with more pixels in a frame, as stored or as displayed, are rejected.
        max_aspect: files whose longer side, as displayed, is more than this many times the shorter
            one are rejected.
        min_motion: clips with less motion are rejected, in percent of the short side per second;
            0 rejects none. See `motion.py`.
        max_shake: clips whose camera shakes more are rejected, in the same unit; 0 rejects none.
        max_text: clips with text, such as a watermark or subtitles, over a larger fraction of the
            frame are rejected; 1 rejects none. See `text_boxes.py`.
        max_work: clips that take more seconds of work are rejected; 0 rejects none.
    """

    short_side: int = 256
    fps: float | None = None
    max_fps: float = 60.0
    min_frames: int = 16
    max_seconds: float = 300.0
    min_side: int = 128
    reject_static: bool = True
    reject_cuts: bool = False
    max_lost: float = 0.05
    crf: int = 18
    gop: int = 12
    max_pixels: int = 40_000_000
    max_aspect: float = 8.0
    min_motion: float = 0.0
    max_shake: float = 0.0
    max_text: float = 1.0
    max_work: float = 3600.0

    def __post_init__(self) -> None:
        ranges = {
            "short_side": (2, math.inf),
            "fps": (0.1, 1000),
            "max_fps": (0.1, 1000),
            "min_frames": (1, math.inf),
            "max_seconds": (0, math.inf),
            "min_side": (2, math.inf),
            "max_lost": (0, 1),
            "crf": (0, 51),
            "gop": (1, math.inf),
            "max_pixels": (4, math.inf),
            "max_aspect": (1, math.inf),
            "min_motion": (0, math.inf),
            "max_shake": (0, math.inf),
            "max_text": (0, 1),
            "max_work": (0, math.inf),
        }
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ranges or value is None:
                continue
            low, high = ranges[item.name]
            if not low <= value <= high:
                raise UserError(f"{item.name} must be from {low} to {high}, got {value}")


class Rejected(UserError):
    """A rejected clip; `reason` is one word for the report."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
