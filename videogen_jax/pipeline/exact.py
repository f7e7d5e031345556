"""A clip whose first frame is the user's image, to the pixel.

Letters: B clips, F frames, H height, W width, C = 3 colour channels.
"""

import numpy as np

from videogen_jax.media.fitting import fitted


def with_first_frame(frames_BFHWC: np.ndarray, images_BHWC: np.ndarray, blended: int) -> np.ndarray:
    """Replaces the first frames of clips by images, and blends the difference out.

    Args:
        frames_BFHWC: uint8.
        images_BHWC: uint8, of any size; they are resized to that of the frames (antialiased).
        blended: from this frame on nothing changes; the difference to the first frame decreases
            linearly before it. At least 1.

    Returns:
        uint8 `[B, F, H, W, 3]`.
    """
    from PIL import Image

    height, width = frames_BFHWC.shape[2:4]
    images = [fitted(Image.fromarray(one), (height, width), "stretch") for one in images_BHWC]
    first_BHWC = np.stack([np.asarray(image) for image in images])
    count = min(blended, frames_BFHWC.shape[1])
    weights_F = (1.0 - np.arange(count) / blended)[:, None, None, None]
    difference_BHWC = first_BHWC.astype(np.float32) - frames_BFHWC[:, 0]
    changed_BFHWC = frames_BFHWC[:, :count] + weights_F * difference_BHWC[:, None]
    result = frames_BFHWC.copy()
    result[:, :count] = changed_BFHWC.round().clip(0, 255).astype(np.uint8)
    return result
