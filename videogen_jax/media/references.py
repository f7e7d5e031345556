"""Reference images of the user, in place of generated ones (§3.1).

Letters: B prompts, H height, W width, C = 3 colour channels.
"""

import os
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.media.fitting import Fit, fitted
from videogen_jax.media.image_files import load_image

Reference: TypeAlias = str | os.PathLike[str] | np.ndarray


def load_references(
    reference: Reference | Sequence[Reference],
    num_prompts: int,
    size: int | tuple[int, int],
    fit: Fit = "crop",
    what: str = "reference",
) -> np.ndarray:
    """Loads the reference of each prompt, uint8 `[B, *size, 3]`.

    Args:
        reference: one for all prompts, or a list with one for each. A reference is an image file or
            a uint8 array `[H, W, 3]` of any size, which is fitted and resized (antialiased).
        num_prompts: B.
        size: pixels per side, or height and width.
        fit: how it is fitted to the aspect ratio of `size`, as in `fitting.fitted`.
        what: what a picture is called in messages.

    Raises:
        MissingFile: there is no such file.
        UserError: a file is not an image, an array is not a picture, or the list does not have one
            reference for each prompt.
    """
    size = (size, size) if isinstance(size, int) else size
    if isinstance(reference, str | os.PathLike | np.ndarray):
        return np.stack([_load(reference, size, fit, what)] * num_prompts)
    if len(reference) != num_prompts:
        raise UserError(f"{len(reference)} {what}s for {num_prompts} prompts, expected one each")
    return np.stack([_load(one, size, fit, what) for one in reference])


def _load(reference: Reference, size: tuple[int, int], fit: Fit, what: str) -> np.ndarray:
    if not isinstance(reference, np.ndarray):
        return load_image(reference, size, fit=fit)
    from PIL import Image

    if reference.dtype != np.uint8 or reference.shape[2:] != (3,) or not reference.size:
        raise UserError(
            f"{what}: expected an image file or a numpy array uint8 [h w 3], "
            f"got {reference.dtype} {list(reference.shape)}"
        )
    return np.array(fitted(Image.fromarray(reference), size, fit))
