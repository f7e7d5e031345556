"""The image that an image is made from, and the mask of what is painted anew.

Letters: B prompts, H height, W width, C = 3 colour channels; h height and w width of the latents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.media.masks import Mask, coarse_mask, load_mask
from videogen_jax.media.references import Reference, load_references
from videogen_jax.pipeline.requests.image import ImageRequest


class Start(NamedTuple):
    """Pictures, uint8 `[B, H, W, 3]`, and a mask of them, bool `[H, W]`, or None without one."""

    pictures_BHWC: np.ndarray
    mask_HW: np.ndarray | None

    def free(self, config: ModelConfig) -> np.ndarray:
        """Returns the latents of which any pixel is in the mask, bool `[B, h, w, 1]`."""
        assert self.mask_HW is not None  # the caller has one
        free_hw = coarse_mask(self.mask_HW, config.autoencoder.factor)
        return np.repeat(free_hw[None, ..., None], len(self.pictures_BHWC), axis=0)

    def within_mask(self, made_BHWC: np.ndarray) -> np.ndarray:
        """Returns what was made, uint8 or float32 in [0, 1], with the pictures outside the mask."""
        if self.mask_HW is None:
            return made_BHWC
        pictures_BHWC = self.pictures_BHWC
        if made_BHWC.dtype != np.uint8:
            pictures_BHWC = pictures_BHWC.astype(np.float32) / 255.0
        return np.where(self.mask_HW[..., None], made_BHWC, pictures_BHWC)


def load_start(
    image: Reference | Sequence[Reference], mask: Mask | None, request: ImageRequest
) -> Start:
    """Loads the pictures of a request and their mask.

    Raises:
        MissingFile: there is no such file.
        UserError: a file or an array is no picture or mask, or there is not one for each prompt.
    """
    size, fit = request.size, request.options.fit
    pictures = load_references(image, len(request.prompts), size, fit, "image")
    return Start(pictures, None if mask is None else load_mask(mask, size, fit))
