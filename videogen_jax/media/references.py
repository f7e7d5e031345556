"""Reference images of the user, in place of generated ones (§3.1).

Letters: B prompts, H height, W width, C = 3 colour channels.
"""

import os
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.media.image_files import load_image

Reference: TypeAlias = str | os.PathLike[str] | np.ndarray


def load_references(
    reference: Reference | Sequence[Reference], num_prompts: int, size: int
) -> np.ndarray:
    """Loads the reference of each prompt, uint8 `[B, size, size, 3]`.

    Args:
        reference: one for all prompts, or a list with one for each. A reference is an image file or
            a uint8 array `[H, W, 3]` of any size; it is cropped to a square (centred) and resized
            (antialiased).
        num_prompts: B.
        size: pixels per side.

    Raises:
        MissingFile: there is no such file.
        UserError: a file is not an image, an array is not a picture, or the list does not have one
            reference for each prompt.
    """
    if isinstance(reference, str | os.PathLike | np.ndarray):
        return np.stack([_load(reference, size)] * num_prompts)
    if len(reference) != num_prompts:
        raise UserError(f"{len(reference)} references for {num_prompts} prompts, expected one each")
    return np.stack([_load(one, size) for one in reference])


def _load(reference: Reference, size: int) -> np.ndarray:
    if not isinstance(reference, np.ndarray):
        return load_image(reference, (size, size))
    from PIL import Image, ImageOps

    if reference.dtype != np.uint8 or reference.shape[2:] != (3,) or not reference.size:
        raise UserError(
            f"reference: expected an image file or a numpy array uint8 [h w 3], "
            f"got {reference.dtype} {list(reference.shape)}"
        )
    picture = Image.fromarray(reference)
    return np.array(ImageOps.fit(picture, (size, size), method=Image.Resampling.LANCZOS))
