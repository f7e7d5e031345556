"""The result of sampling, `Video`, and its files: mp4, gif, webp, PNG frames, contact sheet.

Shape suffixes: F frames, H height, W width, C = 3 colour channels (RGB); uint8 in [0, 255].
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.media.contact_sheet import contact_sheet
from videogen_jax.media.html import video_html
from videogen_jax.media.writers import write_video

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """A generated clip, with its prompt, reference and seed.

    Attributes:
        frames: uint8 `[f, h, w, 3]`.
        fps: frames per second, from 0.01 to 1000.
        prompt: the text that it was generated from.
        reference: uint8 `[h, w, 3]`, the reference image of any size (§3.1), or None without one.
        seed: seed of the noise.

    Raises:
        ValueError: an array has another dtype or shape.
        UserError: `fps` is out of range.
    """

    frames: np.ndarray
    fps: float
    prompt: str = ""
    reference: np.ndarray | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_array("frames", self.frames, "f h w 3")
        if self.reference is not None:
            _check_array("reference", self.reference, "h w 3")
        if not (math.isfinite(self.fps) and 0.01 <= self.fps <= 1000):
            raise UserError(f"fps is {self.fps}, expected a number from 0.01 to 1000")

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.frames) / self.fps

    def __repr__(self) -> str:
        num_frames, height, width, _ = self.frames.shape
        size = f"{num_frames} frames of {width}x{height} at {self.fps:g} fps, {self.duration:.1f} s"
        return f"Video({self.prompt!r}, {size}, seed {self.seed})"

    def _repr_html_(self) -> str:
        """Plays in a notebook; `contact_sheet` is the picture of all frames."""
        return video_html(self.frames, self.fps, self.prompt)

    def save(self, path: str | os.PathLike[str], *, lossless: bool = False) -> Path:
        """Writes the frames in the format of the suffix.

        The write is atomic and replaces an older file. Creates parent folders.

        Args:
            path: `.mp4` (H.264, 4:2:0, plays everywhere; an odd side is padded by one pixel),
                `.gif`, `.webp` (both loop), or no suffix for a folder of `frame_0000.png`, ...
            lossless: keeps exact pixels; possible for `.webp`, and always true for PNG frames.

        Returns:
            `path`.

        Raises:
            UserError: the suffix is unknown, the format cannot be lossless, or `path` cannot be
                written.
        """
        return write_video(Path(path), self.frames, self.fps, lossless)

    def contact_sheet(
        self,
        path: str | os.PathLike[str] | None = None,
        columns: int | None = None,
        scale: int | None = None,
        caption: str | None = None,
    ) -> "Image":
        """Draws the clip as one picture: the reference first, then the frames in rows.

        Args:
            path: a `.png` file to write the picture to; by default none is written.
            columns: frames in a row; default: one row of up to 16 frames, or rows of 16.
            scale: integer enlargement; default: the smallest for frames at least 96 pixels high.
            caption: a text above the frames, such as the prompt.

        Returns:
            the picture in RGB.

        Raises:
            UserError: `path` is not a `.png` or cannot be written; `columns` or `scale` is below 1.
        """
        sheet = contact_sheet(self.frames, self.reference, columns, scale, caption)
        if path is not None:
            if Path(path).suffix.lower() != ".png":
                raise UserError(f"cannot write {path}: a contact sheet is a .png file")
            with replacing(path) as temporary:
                sheet.save(temporary, format="PNG")
        return sheet


def _check_array(name: str, array: Any, shape: str) -> None:
    """Raises ValueError unless `array` is uint8 with the axes of `shape`, the last of them RGB."""
    is_uint8 = isinstance(array, np.ndarray) and array.dtype == np.uint8
    if not is_uint8 or array.ndim != len(shape.split()) or array.shape[-1] != 3 or not array.size:
        found = f"{array.dtype} {list(array.shape)}" if hasattr(array, "shape") else type(array)
        raise ValueError(f"{name}: expected a numpy array uint8 [{shape}], got {found}")
