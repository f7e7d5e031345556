"""CLIPSIM: how well videos fit their captions, by CLIP (Wu et al. 2021, GODIVA).

Letters: B batch of videos, F frames, D features.
"""

import numpy as np
from numpy.typing import ArrayLike


def clip_similarity(images_BFD: ArrayLike, texts_BD: ArrayLike) -> np.ndarray:
    """Returns the mean over frames of the cosine between a frame and its video's caption, [B].

    Values are in [-1, 1], neither scaled by 100 nor clamped at 0; papers differ in both. CLIPSIM is
    the mean over videos.

    Args:
        images_BFD: CLIP's features of the frames, of any length.
        texts_BD: CLIP's features of the captions.

    Raises:
        ValueError: The shapes do not fit together, or a feature is zero or not finite.
    """
    images, texts = np.asarray(images_BFD, np.float64), np.asarray(texts_BD, np.float64)
    if images.ndim != 3 or texts.shape != (len(images), images.shape[2]) or images.shape[1] == 0:
        raise ValueError(f"need [B, F, D] and [B, D], got {images.shape} and {texts.shape}")
    lengths = np.linalg.norm(images, axis=-1), np.linalg.norm(texts, axis=-1)
    if not all((np.isfinite(length) & (length > 0)).all() for length in lengths):
        raise ValueError("a feature is zero or not finite")
    cosines_BF = np.einsum("bfd,bd->bf", images, texts) / (lengths[0] * lengths[1][:, None])
    return cosines_BF.mean(axis=1)
