"""The result of sampling, `Video`, and its files: mp4, gif, webp, PNG frames, contact sheet.

Shape suffixes: F frames, H height, W width, C = 3 colour channels (RGB); uint8 in [0, 255].
"""

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.media.contact_sheet import contact_sheet
from videogen_jax.media.h264 import write_h264
from videogen_jax.media.output import FRAME_NAME, check_format, check_frames_folder

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_PALETTE_FRAMES = 16


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
        path = Path(path)
        check_format(path, self.fps)
        suffix = path.suffix.lower()
        if lossless and suffix in (".mp4", ".gif"):
            raise UserError(f"cannot write {path}: {suffix} has no lossless form, use .webp")
        with replacing(path) as temporary:
            if suffix == "" and path.is_dir():
                check_frames_folder(path)
            _WRITERS[suffix](temporary, self.frames, self.fps, lossless)
        return path

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


def _write_mp4(path: Path, frames_FHWC: np.ndarray, fps: float, lossless: bool) -> None:
    import av

    # Chroma is shared by 2x2 pixels, so sides must be even.
    odd_h, odd_w = (side % 2 for side in frames_FHWC.shape[1:3])
    frames_FHWC = np.pad(frames_FHWC, ((0, 0), (0, odd_h), (0, odd_w), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(1000)
    # The index goes before the frames ("faststart"), so that a browser plays while it loads.
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        write_h264(container, frames_FHWC, rate, {"crf": "16"})


def _write_gif(path: Path, frames_FHWC: np.ndarray, fps: float, lossless: bool) -> None:
    path.write_bytes(encode_gif(frames_FHWC, fps))


def encode_gif(frames_FHWC: np.ndarray, fps: float) -> bytes:
    """Encodes frames as a GIF that loops, with one palette of 256 colours.

    Args:
        frames_FHWC: the frames.
        fps: frames per second, at most 50: no browser plays more.
    """
    from PIL import Image

    durations = _durations_ms(fps, len(frames_FHWC), unit=10)
    # One palette for the whole clip: with one for each frame, still areas flicker.
    chosen = np.unique(
        np.linspace(0, len(frames_FHWC) - 1, _MAX_PALETTE_FRAMES).round().astype(int)
    )
    mosaic = Image.fromarray(frames_FHWC[chosen].reshape(-1, *frames_FHWC.shape[2:]))
    palette = mosaic.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    images = [Image.fromarray(frame_HWC).quantize(palette=palette) for frame_HWC in frames_FHWC]
    file = io.BytesIO()
    _write_animation(file, images, durations, format="GIF", optimize=False)
    return file.getvalue()


def _write_webp(path: Path, frames_FHWC: np.ndarray, fps: float, lossless: bool) -> None:
    from PIL import Image

    durations = _durations_ms(fps, len(frames_FHWC), unit=1)
    images = [Image.fromarray(frame_HWC) for frame_HWC in frames_FHWC]
    _write_animation(path, images, durations, format="WEBP", lossless=lossless, quality=90)


def _write_animation(
    file: Path | io.BytesIO, images: list["Image"], durations: list[int], **options: Any
) -> None:
    images[0].save(
        file, save_all=True, append_images=images[1:], duration=durations, loop=0, **options
    )


def _write_pngs(folder: Path, frames_FHWC: np.ndarray, fps: float, lossless: bool) -> None:
    from PIL import Image

    folder.mkdir()
    for index, frame_HWC in enumerate(frames_FHWC):
        Image.fromarray(frame_HWC).save(folder / FRAME_NAME.format(index))


_WRITERS: dict[str, Callable[[Path, np.ndarray, float, bool], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
    "": _write_pngs,
}


def _durations_ms(fps: float, num_frames: int, unit: int) -> list[int]:
    """Returns each frame's milliseconds, multiples of `unit` whose sums follow `fps`."""
    ends = np.round(np.arange(num_frames + 1) * (1000 / fps / unit)).astype(int) * unit
    return np.diff(ends).tolist()


def _check_array(name: str, array: Any, shape: str) -> None:
    """Raises ValueError unless `array` is uint8 with the axes of `shape`, the last of them RGB."""
    is_uint8 = isinstance(array, np.ndarray) and array.dtype == np.uint8
    if not is_uint8 or array.ndim != len(shape.split()) or array.shape[-1] != 3 or not array.size:
        found = f"{array.dtype} {list(array.shape)}" if hasattr(array, "shape") else type(array)
        raise ValueError(f"{name}: expected a numpy array uint8 [{shape}], got {found}")
