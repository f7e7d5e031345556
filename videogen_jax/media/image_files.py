"""Reading image files, such as a user's own reference image (§3.1).

Shape suffixes: H height, W width, C = 3 colour channels (RGB); uint8 in [0, 255].
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.media.fitting import Fit, fitted

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ImageLimits:
    """Limits on an image file, checked before its pixels are read.

    Attributes:
        max_pixels: largest number of pixels. Reading takes about 12 bytes for each.
        max_aspect: largest ratio of the longer to the shorter side. Pillow keeps a pointer to each
            row, so a picture one pixel wide takes several times the memory.
    """

    max_pixels: int = 178_956_970
    max_aspect: float = 64.0

    def check(self, width: int, height: int) -> None:
        """Raises UserError if an image of this size is over a limit."""
        if width * height > self.max_pixels:
            raise UserError(f"it has {width}x{height} pixels, expected at most {self.max_pixels}")
        if max(width, height) > self.max_aspect * min(width, height):
            raise UserError(
                f"it has {width}x{height} pixels, expected a longer side of at most "
                f"{self.max_aspect:g} times the shorter one"
            )


def load_image(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    limits: ImageLimits = ImageLimits(),
    fit: Fit = "crop",
) -> np.ndarray:
    """Reads an image file as a viewer shows it: rotated by its EXIF tag, transparency on white.

    Args:
        path: any format that Pillow reads; of an animation, the first frame.
        size: `(height, width)` of the result, fitted and resized (antialiased); by default the
            image's own.
        limits: larger images are refused.
        fit: how it is fitted to the aspect ratio of `size`, as in `fitted`.

    Returns:
        uint8 `[h, w, 3]`.

    Raises:
        MissingFile: there is no such file.
        UserError: the file is not an image, is damaged, or is over the limits; names the file. Or
            `size` is not positive.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if size is not None and min(size) < 1:
        raise UserError(f"size is {size}, expected a positive (height, width)")
    if not path.exists():
        raise MissingFile(f"no image file {path}")
    try:
        if not path.is_file():  # opening a named pipe may never end
            raise UserError("it is not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see `limits`
            opened = Image.open(path)
        with opened as file:
            limits.check(*file.size)
            image = _on_white(ImageOps.exif_transpose(file))
    except Exception as error:  # the readers of the formats raise many types
        raise UserError(f"{path} is not an image that can be read: {error}") from error
    if size is not None:
        image = fitted(image, size, fit)
    return np.array(image)


def _on_white(image: "Image") -> "Image":
    """Converts any Pillow image to RGB, with transparency on white."""
    from PIL import Image

    if image.mode == "F":
        raise UserError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip at 255
        levels = np.asarray(image, np.float32)
        return Image.fromarray((levels / 257).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
