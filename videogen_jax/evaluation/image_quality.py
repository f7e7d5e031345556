"""How near images and videos are to true ones: PSNR, SSIM (Wang et al. 2004) and LPIPS.

Arrays are uint8 RGB. The measures of a video are means over its frames.

Letters: B batch, F frames, H height, W width; `3` RGB channels.
"""

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.features.lpips import lpips
from videogen_jax.models.layers import fold_frames
from videogen_jax.models.parameters import Params

_WINDOW, _DEVIATION = 11, 1.5  # Gaussian window of SSIM, in pixels
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Of PSNR, so that equal images have a finite one.
_LEAST_ERROR = 1e-9


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB, of uint8 arrays of one shape.

    Equal arrays have 138 dB, the largest value. scikit-image's `peak_signal_noise_ratio` is
    infinite for them and the same for others.
    """
    error = np.square(image.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, _LEAST_ERROR)))


def ssim(image_HW3: np.ndarray, truth_HW3: np.ndarray) -> float:
    """Returns the structural similarity of two images, at most 1.

    A Gaussian window of 11×11 pixels with deviation 1.5, K₁ = 0.01, K₂ = 0.03, without the border
    where the window does not fit; the mean over positions and channels. This is scikit-image's
    `structural_similarity` with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.

    Raises:
        UserError: The images differ in shape, or a side is shorter than the window.
    """
    if image_HW3.shape != truth_HW3.shape or min(truth_HW3.shape[:2]) < _WINDOW:
        raise UserError(
            f"SSIM needs two images of one shape, {_WINDOW} pixels a side or more, got "
            f"{image_HW3.shape} and {truth_HW3.shape}"
        )
    x, y = (np.asarray(array, np.float64) for array in (image_HW3, truth_HW3))
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    shared = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * shared + _C2) / (variance_x + variance_y + _C2)
    return float((luminance * structure).mean())


def _windowed(x_HW3: np.ndarray) -> np.ndarray:
    """Returns the Gaussian mean at the positions where the whole window is inside."""
    half = _WINDOW // 2
    return cv2.GaussianBlur(x_HW3, (_WINDOW, _WINDOW), _DEVIATION)[half:-half, half:-half]


def video_psnr(video_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    """Returns the mean PSNR of a video's frames, in dB."""
    pairs = zip(video_FHW3, truth_FHW3, strict=True)
    return float(np.mean([psnr(frame, true_frame) for frame, true_frame in pairs]))


def video_ssim(video_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    """Returns the mean SSIM of a video's frames."""
    pairs = zip(video_FHW3, truth_FHW3, strict=True)
    return float(np.mean([ssim(frame, true_frame) for frame, true_frame in pairs]))


@jax.jit
def video_lpips(params: Params, videos_BFHW3: jax.Array, truths_BFHW3: jax.Array) -> jax.Array:
    """Returns the mean LPIPS distance of each video's frames, float32 [B].

    Args:
        params: As from `load_lpips`.
        videos_BFHW3: uint8 [B, F, H, W, 3].
        truths_BFHW3: The true videos, of the same shape.

    Raises:
        UserError: They differ in shape or are too small for the network.
    """
    frames = (fold_frames(x.astype(jnp.float32)) / 127.5 - 1 for x in (videos_BFHW3, truths_BFHW3))
    with jax.default_matmul_precision("highest"):  # which TPUs and GPUs round by default
        distances = lpips(params, *frames)
    return distances.reshape(videos_BFHW3.shape[:2]).mean(axis=1)
