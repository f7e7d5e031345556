"""Masks of the user: where a picture is painted anew.

Letters: H height, W width.
"""

import os
from typing import TypeAlias

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.media.fitting import Fit, fitted
from videogen_jax.media.image_files import load_image

Mask: TypeAlias = str | os.PathLike[str] | np.ndarray
_WHITE = 128  # from this level on a pixel is white


def load_mask(mask: Mask, size: tuple[int, int], fit: Fit = "crop") -> np.ndarray:
    """Loads a mask, bool `[H, W]`: True where it is white.

    Args:
        mask: an image file, or a bool or uint8 array `[H, W]`, of any size.
        size: height and width of the result.
        fit: as for the picture; with "pad", what is added is black.

    Raises:
        MissingFile: there is no such file.
        UserError: the file is not an image, the array is no mask, or nothing of it is white.
    """
    from PIL import Image

    if isinstance(mask, np.ndarray):
        if mask.dtype not in (np.bool_, np.uint8) or mask.ndim != 2 or not mask.size:
            raise UserError(
                f"mask: expected an image file or a numpy array bool or uint8 [h w], "
                f"got {mask.dtype} {list(mask.shape)}"
            )
        grey_HW = mask.astype(np.uint8) * 255 if mask.dtype == np.bool_ else mask
    else:
        grey_HW = load_image(mask).mean(-1)
    white_HW = np.where(grey_HW >= _WHITE, np.uint8(255), np.uint8(0))
    picture = Image.fromarray(np.repeat(white_HW[..., None], 3, axis=-1))
    levels_HWC = np.asarray(fitted(picture, size, fit, background=(0, 0, 0)))
    mask_HW = np.greater_equal(levels_HWC[..., 0], _WHITE)
    if not mask_HW.any():
        raise UserError("mask: nothing of it is white, expected white where the image is painted")
    return mask_HW


def coarse_mask(mask_HW: np.ndarray, factor: int) -> np.ndarray:
    """Returns the cells of `factor` × `factor` pixels of which any is in the mask, bool."""
    height, width = (side // factor for side in mask_HW.shape)
    return np.asarray(mask_HW.reshape(height, factor, width, factor).any(axis=(1, 3)))
