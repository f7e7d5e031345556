"""Writing pictures as files, and arranging them in a grid.

Shape suffixes: B pictures, H height, W width, C = 3 colour channels (RGB), uint8.
"""

import math
from pathlib import Path

import numpy as np
from einops import rearrange

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_WHITE = 255


def picture_grid(pictures_BHWC: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arranges pictures in rows without gaps, uint8 `[rows·H, columns·W, 3]`, on white.

    Args:
        pictures_BHWC: at least one, in reading order.
        columns: pictures in a row; by default about as many as there are rows.

    Raises:
        UserError: `columns` is below 1.
    """
    count = len(pictures_BHWC)
    if columns is None:
        columns = math.ceil(math.sqrt(count))
    if columns < 1:
        raise UserError(f"columns is {columns}, expected at least 1")
    missing = -count % columns
    padding = ((0, missing), (0, 0), (0, 0), (0, 0))
    cells = np.pad(pictures_BHWC, padding, constant_values=_WHITE)
    return rearrange(cells, "(row column) h w c -> (row h) (column w) c", column=columns)


def check_picture_format(path: Path) -> None:
    """Raises UserError if `save_picture` does not support the suffix."""
    if path.suffix.lower() not in _FORMATS:
        raise UserError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; known are {', '.join(_FORMATS)}"
        )


def save_picture(path: Path, picture_HWC: np.ndarray) -> None:
    """Writes a picture atomically, in the format of the suffix.

    `.png` has the exact pixels; `.jpg` and `.webp` are of high quality. Creates parent folders.

    Raises:
        UserError: the suffix is unknown, or `path` cannot be written.
    """
    from PIL import Image

    check_picture_format(path)
    with replacing(path) as temporary:
        Image.fromarray(picture_HWC).save(
            temporary, format=_FORMATS[path.suffix.lower()], quality=95
        )
