"""Degradations of clips, to train the video decoder (§3.4: noise, blur and compression).

BSRGAN (Zhang et al. 2021, "Designing a Practical Degradation Model for Deep Blind Image
Super-Resolution") degrades images by blur, resizing, noise and JPEG compression in random order.
Here one draw of all parameters, a `Recipe`, applies to a whole clip, as one camera and one codec
made it. Sensor noise is independent in each frame.

The defaults are those of BSRGAN's code for scale factor 2: two blurs, one resizing, noise, and JPEG
in nine of ten cases, in random order, then compression. What differs:

- The decoder's output has the size of its input, so frames are scaled down by 1 to 2 and back up at
  once. BSRGAN scales by 1 to 4, or in a quarter of the cases blurs and takes every second pixel,
  and later in the order scales to half the size.
- The last compression is JPEG or H.264; BSRGAN's is JPEG. Its simulated camera, which it applies in
  a quarter of the cases and only if it is given one, is left out.
- Noise levels are real numbers; BSRGAN's are whole ones. Values are clipped to 0 to 255 before JPEG
  and at the end; BSRGAN clips after resizing and noise too.
- Noise is the same in all frames of a fifth of the clips. BSRGAN has no clips.

Shape letters: F frames, H height, W width, K kernel size; a trailing 3 are RGB channels.
"""

from dataclasses import dataclass

import numpy as np

from videogen_jax.data.compression import h264_round_trip, jpeg_round_trip
from videogen_jax.errors import UserError

# OpenCV's INTER_LINEAR, INTER_CUBIC and INTER_AREA; cv2 is only imported to degrade frames.
_INTERPOLATIONS = (1, 2, 3)
_CODECS = ("jpeg", "h264", "none")
_BSRGAN_PIXELS = 256
_NOISE_KINDS = ("colour", "grey", "correlated")


@dataclass(frozen=True)
class DegradeConfig:
    """Distributions of `draw_recipe`. The defaults are BSRGAN's; see above for what differs.

    Attributes:
        blur_scale: factor of kernel sizes and widths. BSRGAN's values suit frames of about 256
            pixels; `for_pixels` sets the scale for smaller ones.
        kernel_radius: range of (K - 1) / 2, in pixels before `blur_scale`.
        isotropic_sigma: largest width of an isotropic Gaussian kernel, in pixels.
        anisotropic_variance: largest variance along either axis of an anisotropic kernel, in pixels
            squared.
        anisotropic_probability: probability of an anisotropic kernel.
        resize_probability: probability of downscaling followed by upscaling.
        resize_factor: largest factor of the downscaling; the smallest is 1.
        jpeg_probability: probability of JPEG compression of each frame among the other steps.
        noise_level: range of the standard deviation, in levels of 255.
        noise_probabilities: probabilities of independent noise per channel, of equal noise in all
            channels, and of correlated channels.
        frozen_noise_probability: probability of one noise pattern in all frames, as from a dirty
            sensor.
        codec_probabilities: probabilities of JPEG for each frame, H.264 for the clip, and no
            compression.
        jpeg_quality: range within 1 (worst) to 95.
        h264_crf: range of the constant rate factor, within 0 (lossless) to 51.
    """

    blur_scale: float = 1.0
    kernel_radius: tuple[int, int] = (3, 12)
    isotropic_sigma: float = 2.4
    anisotropic_variance: float = 6.0
    anisotropic_probability: float = 0.5
    resize_probability: float = 1.0
    resize_factor: float = 2.0
    jpeg_probability: float = 0.9
    noise_level: tuple[float, float] = (2.0, 25.0)
    noise_probabilities: tuple[float, float, float] = (0.4, 0.4, 0.2)
    frozen_noise_probability: float = 0.2
    codec_probabilities: tuple[float, float, float] = (0.5, 0.5, 0.0)
    jpeg_quality: tuple[int, int] = (30, 95)
    h264_crf: tuple[int, int] = (18, 40)

    def __post_init__(self) -> None:
        for name in ("noise_probabilities", "codec_probabilities"):
            values = getattr(self, name)
            if min(values) < 0 or abs(sum(values) - 1.0) > 1e-6:
                raise UserError(f"{name} must be >= 0 and sum to 1, got {values}")
        for name in ("kernel_radius", "jpeg_quality", "h264_crf"):
            low, high = getattr(self, name)
            if low > high:
                raise UserError(f"{name} is {low} to {high}, expected the lower number first")
        if self.blur_scale <= 0 or self.resize_factor < 1:
            raise UserError(
                f"need blur_scale > 0 and resize_factor >= 1, got {self.blur_scale} and "
                f"{self.resize_factor}"
            )

    @classmethod
    def for_pixels(cls, resolution: int) -> "DegradeConfig":
        """Returns the defaults with kernels scaled down for frames smaller than BSRGAN's."""
        return cls(blur_scale=min(1.0, resolution / _BSRGAN_PIXELS))


@dataclass(frozen=True, eq=False)
class Recipe:
    """One drawn degradation, the same for all frames of a clip.

    Attributes:
        steps: order of "blur_1", "blur_2", "noise" and, if drawn, "resize" and "jpeg".
        kernels: of the two blurs, float32 [K, K], each summing to 1.
        resize_factor, resize_interpolations: downscaling factor; OpenCV codes for downscaling and
            upscaling.
        noise_mixing: float32 [3, 3], maps standard normal triples to RGB noise in levels of 255.
        noise_frozen: use one pattern for all frames.
        noise_seed: seed of the noise.
        jpeg_quality: of the step "jpeg".
        codec, quality: "jpeg" with its quality, "h264" with its constant rate factor, or "none".
    """

    steps: tuple[str, ...]
    kernels: tuple[np.ndarray, np.ndarray]
    resize_factor: float
    resize_interpolations: tuple[int, int]
    noise_mixing: np.ndarray
    noise_frozen: bool
    noise_seed: int
    jpeg_quality: int
    codec: str
    quality: int


def draw_recipe(config: DegradeConfig, rng: np.random.Generator) -> Recipe:
    """Draws the parameters for one clip."""
    steps = ["blur_1", "blur_2", "noise"]
    if rng.random() < config.resize_probability:
        steps.append("resize")
    if rng.random() < config.jpeg_probability:
        steps.append("jpeg")
    codec = str(rng.choice(_CODECS, p=config.codec_probabilities))
    worst, best = config.jpeg_quality
    low, high = config.h264_crf if codec == "h264" else config.jpeg_quality
    return Recipe(
        steps=tuple(str(step) for step in rng.permutation(steps)),
        kernels=(_draw_kernel(config, rng), _draw_kernel(config, rng)),
        resize_factor=rng.uniform(1.0, config.resize_factor),
        resize_interpolations=(int(rng.choice(_INTERPOLATIONS)), int(rng.choice(_INTERPOLATIONS))),
        noise_mixing=_draw_noise_mixing(config, rng),
        noise_frozen=bool(rng.random() < config.frozen_noise_probability),
        noise_seed=int(rng.integers(2**32)),
        jpeg_quality=int(rng.integers(worst, best + 1)),
        codec=codec,
        quality=int(rng.integers(low, high + 1)),
    )


def _draw_kernel(config: DegradeConfig, rng: np.random.Generator) -> np.ndarray:
    low, high = config.kernel_radius
    radius = max(1, round(rng.integers(low, high + 1) * config.blur_scale))
    if rng.random() < config.anisotropic_probability:
        angle = rng.uniform(0.0, np.pi)
        variances = rng.uniform(0.0, config.anisotropic_variance, 2)
    else:
        angle = 0.0
        variances = np.full(2, rng.uniform(0.0, config.isotropic_sigma) ** 2)
    return gaussian_kernel(radius, variances * config.blur_scale**2, angle)


def _draw_noise_mixing(config: DegradeConfig, rng: np.random.Generator) -> np.ndarray:
    level = rng.uniform(*config.noise_level)
    match rng.choice(_NOISE_KINDS, p=config.noise_probabilities):
        case "colour":
            mixing = level * np.eye(3)
        case "grey":
            mixing = level * np.eye(3)[[0, 0, 0]]  # every channel takes the first normal
        case _:
            # BSRGAN: covariance L^2 |U^T D U| with U an orthonormal basis of a matrix of uniform
            # numbers (`scipy.linalg.orth`), D = diag(uniform) and L the largest level. Rounding can
            # make an eigenvalue negative.
            basis = np.linalg.svd(rng.uniform(size=(3, 3)))[0]
            covariance = np.abs(basis.T * rng.uniform(size=3) @ basis)
            values, vectors = np.linalg.eigh(covariance)
            mixing = config.noise_level[1] * vectors * np.sqrt(np.maximum(values, 0.0))
    return mixing.astype(np.float32)


def gaussian_kernel(radius: int, variances: np.ndarray, angle: float) -> np.ndarray:
    """Returns a Gaussian kernel, float32 [K, K] with K = 2 * radius + 1, which sums to 1.

    Args:
        radius: in pixels.
        variances: along `angle` and across it, in pixels squared. Values below 0.01 count as 0.01,
            which leaves a single pixel.
        angle: in radians.
    """
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    precision = axes @ np.diag(1.0 / np.maximum(variances, 0.01)) @ axes.T
    offset = np.arange(-radius, radius + 1)
    x_KK, y_KK = np.meshgrid(offset, offset)
    squared_KK = precision[0, 0] * x_KK**2 + precision[1, 1] * y_KK**2
    squared_KK = squared_KK + 2.0 * precision[0, 1] * x_KK * y_KK
    kernel_KK = np.exp(-0.5 * squared_KK)
    return (kernel_KK / kernel_KK.sum()).astype(np.float32)


def degrade(video_FHW3: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Degrades a clip; the same clip and recipe give the same result.

    Args:
        video_FHW3: uint8 [F, H, W, 3]; H and W even if the recipe compresses by H.264.

    Returns:
        uint8 [F, H, W, 3].
    """
    frames_FHW3 = video_FHW3.astype(np.float32)
    for step in recipe.steps:
        match step:
            case "blur_1" | "blur_2":
                frames_FHW3 = blur(frames_FHW3, recipe.kernels[step == "blur_2"])
            case "resize":
                frames_FHW3 = down_and_up(
                    frames_FHW3, recipe.resize_factor, recipe.resize_interpolations
                )
            case "noise":
                rng = np.random.default_rng(recipe.noise_seed)
                frames_FHW3 = add_noise(frames_FHW3, recipe.noise_mixing, recipe.noise_frozen, rng)
            case "jpeg":
                compressed_FHW3 = jpeg_round_trip(to_levels(frames_FHW3), recipe.jpeg_quality)
                frames_FHW3 = compressed_FHW3.astype(np.float32)
            case _:
                raise ValueError(f"unknown step {step!r} in the recipe")
    frames_FHW3 = to_levels(frames_FHW3)
    match recipe.codec:
        case "jpeg":
            return jpeg_round_trip(frames_FHW3, recipe.quality)
        case "h264":
            return h264_round_trip(frames_FHW3, recipe.quality)
        case "none":
            return frames_FHW3
    raise ValueError(f"codec must be one of {', '.join(_CODECS)}, got {recipe.codec!r}")


def to_levels(frames_FHW3: np.ndarray) -> np.ndarray:
    """Rounds and clips float frames in levels of 255 to uint8."""
    return np.clip(np.rint(frames_FHW3), 0, 255).astype(np.uint8)


def blur(frames_FHW3: np.ndarray, kernel_KK: np.ndarray) -> np.ndarray:
    """Filters each frame with one kernel. Borders are mirrored about the edge pixel (BSRGAN)."""
    import cv2

    return np.stack(
        [
            cv2.filter2D(frame, -1, kernel_KK, borderType=cv2.BORDER_REFLECT_101)
            for frame in frames_FHW3
        ]
    )


def down_and_up(
    frames_FHW3: np.ndarray, factor: float, interpolations: tuple[int, int]
) -> np.ndarray:
    """Downscales each frame by a factor >= 1 and upscales it to its original size."""
    import cv2

    height, width = frames_FHW3.shape[1:3]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    down, up = interpolations
    shrunk = (cv2.resize(frame, small, interpolation=down) for frame in frames_FHW3)
    return np.stack([cv2.resize(frame, (width, height), interpolation=up) for frame in shrunk])


def add_noise(
    frames_FHW3: np.ndarray, mixing_33: np.ndarray, frozen: bool, rng: np.random.Generator
) -> np.ndarray:
    """Adds noise of channel covariance mixing @ mixing.T, the same in every frame if `frozen`."""
    shape = (1 if frozen else len(frames_FHW3), *frames_FHW3.shape[1:])
    return frames_FHW3 + rng.standard_normal(shape, np.float32) @ mixing_33.T
