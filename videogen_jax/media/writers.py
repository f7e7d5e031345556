"""Writing frames as a file: mp4, gif, webp, or a folder of PNG frames.

Shape suffixes: F frames, H height, W width, C = 3 colour channels (RGB); uint8 in [0, 255].
"""

import io
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.media.h264 import write_h264
from videogen_jax.media.output import FRAME_NAME, check_format, check_frames_folder
from videogen_jax.media.sound import Sound

if TYPE_CHECKING:
    from PIL.Image import Image

Frames: TypeAlias = Iterable[np.ndarray]  # uint8 [H, W, 3] each

_MAX_PALETTE_FRAMES = 16
_NTSC = 1001  # the largest denominator of a frame rate: 30000/1001 frames per second


def write_video(
    path: Path, frames: Frames, fps: float, lossless: bool = False, sound: Sound | None = None
) -> Path:
    """Writes frames in the format of the suffix, atomically; replaces an older file.

    For `.mp4` and PNG frames, only a few frames at a time are in memory. Creates parent folders.

    Args:
        path: `.mp4`, `.gif`, `.webp`, or no suffix for a folder of PNG frames.
        frames: of one size, at least one.
        fps: frames per second.
        lossless: keeps exact pixels; possible for `.webp`, and always true for PNG frames.
        sound: written beside the frames of an `.mp4`; the other formats have none.

    Returns:
        `path`.

    Raises:
        UserError: the suffix is unknown, the format cannot be lossless, or `path` cannot be
            written.
    """
    check_format(path, fps)
    suffix = path.suffix.lower()
    if lossless and suffix in (".mp4", ".gif"):
        raise UserError(f"cannot write {path}: {suffix} has no lossless form, use .webp")
    with replacing(path) as temporary:
        if suffix == "" and path.is_dir():
            check_frames_folder(path)
        _WRITERS[suffix](temporary, frames, fps, lossless, sound)
    return path


def _write_mp4(path: Path, frames: Frames, fps: float, lossless: bool, sound: Sound | None) -> None:
    import av

    rate = Fraction(fps).limit_denominator(_NTSC)
    # The index goes before the frames ("faststart"), so that a browser plays while it loads.
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        even = map(_with_even_sides, frames)
        if sound is not None:
            even = sound.beside(container, even, rate)
        write_h264(container, even, rate, {"crf": "16"})


def _with_even_sides(frame_HWC: np.ndarray) -> np.ndarray:
    """Repeats the last row and column of odd sides: chroma is shared by 2x2 pixels."""
    odd_h, odd_w = (side % 2 for side in frame_HWC.shape[:2])
    return np.pad(frame_HWC, ((0, odd_h), (0, odd_w), (0, 0)), mode="edge")


def _write_gif(path: Path, frames: Frames, fps: float, lossless: bool, sound: Sound | None) -> None:
    path.write_bytes(encode_gif(np.stack(list(frames)), fps))


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


def _write_webp(
    path: Path, frames: Frames, fps: float, lossless: bool, sound: Sound | None
) -> None:
    from PIL import Image

    images = [Image.fromarray(frame_HWC) for frame_HWC in frames]
    durations = _durations_ms(fps, len(images), unit=1)
    _write_animation(path, images, durations, format="WEBP", lossless=lossless, quality=90)


def _write_animation(
    file: Path | io.BytesIO, images: list["Image"], durations: list[int], **options: Any
) -> None:
    images[0].save(
        file, save_all=True, append_images=images[1:], duration=durations, loop=0, **options
    )


def _write_pngs(
    folder: Path, frames: Frames, fps: float, lossless: bool, sound: Sound | None
) -> None:
    from PIL import Image

    folder.mkdir()
    for index, frame_HWC in enumerate(frames):
        Image.fromarray(frame_HWC).save(folder / FRAME_NAME.format(index))


_WRITERS: dict[str, Callable[[Path, Frames, float, bool, Sound | None], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
    "": _write_pngs,
}


def _durations_ms(fps: float, num_frames: int, unit: int) -> list[int]:
    """Returns each frame's milliseconds, multiples of `unit` whose sums follow `fps`."""
    ends = np.round(np.arange(num_frames + 1) * (1000 / fps / unit)).astype(int) * unit
    return np.diff(ends).tolist()
