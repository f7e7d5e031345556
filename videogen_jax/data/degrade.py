"""Degradations of clips, to train the video decoder (§3.4: noise, blur and compression).

BSRGAN (Zhang et al. 2021, "Designing a Practical Degradation Model for Deep Blind Image
Super-Resolution") degrades images by blur, resizing, noise and JPEG compression in random order.
Here one draw of all parameters, a `Recipe`, applies to a whole clip, as one camera and one codec
made it. Sensor noise is independent in each frame. Compression comes last.

Shape letters: F frames, H height, W width, K kernel size; a trailing 3 are RGB channels.
"""

import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from videogen_jax.errors import UserError
from videogen_jax.media.h264 import REPRODUCIBLE

# OpenCV's INTER_LINEAR, INTER_CUBIC and INTER_AREA; cv2 is only imported to degrade frames.
_INTERPOLATIONS = (1, 2, 3)
_CODECS = ("jpeg", "h264", "none")
_BSRGAN_PIXELS = 256
_NOISE_KINDS = ("colour", "grey", "correlated")


@dataclass(frozen=True)
class DegradeConfig:
    """Distributions of `draw_recipe`. Defaults are BSRGAN's (scale factor 2) where it has them.

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
    resize_probability: float = 0.5
    resize_factor: float = 2.0
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
        steps: order of "blur_1", "blur_2", "resize" (if drawn) and "noise".
        kernels: of the two blurs, float32 [K, K], each summing to 1.
        resize_factor, resize_interpolations: downscaling factor; OpenCV codes for downscaling and
            upscaling.
        noise_mixing: float32 [3, 3], maps standard normal triples to RGB noise in levels of 255.
        noise_frozen: use one pattern for all frames.
        noise_seed: seed of the noise.
        codec, quality: "jpeg" with its quality, "h264" with its constant rate factor, or "none".
    """

    steps: tuple[str, ...]
    kernels: tuple[np.ndarray, np.ndarray]
    resize_factor: float
    resize_interpolations: tuple[int, int]
    noise_mixing: np.ndarray
    noise_frozen: bool
    noise_seed: int
    codec: str
    quality: int


def draw_recipe(config: DegradeConfig, rng: np.random.Generator) -> Recipe:
    """Draws the parameters for one clip."""
    steps = ["blur_1", "blur_2", "noise"]
    if rng.random() < config.resize_probability:
        steps.append("resize")
    codec = str(rng.choice(_CODECS, p=config.codec_probabilities))
    low, high = config.h264_crf if codec == "h264" else config.jpeg_quality
    return Recipe(
        steps=tuple(str(step) for step in rng.permutation(steps)),
        kernels=(_draw_kernel(config, rng), _draw_kernel(config, rng)),
        resize_factor=rng.uniform(1.0, config.resize_factor),
        resize_interpolations=(int(rng.choice(_INTERPOLATIONS)), int(rng.choice(_INTERPOLATIONS))),
        noise_mixing=_draw_noise_mixing(config, rng),
        noise_frozen=bool(rng.random() < config.frozen_noise_probability),
        noise_seed=int(rng.integers(2**32)),
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
            # BSRGAN: covariance L^2 |U^T D U| with U orthogonal, D = diag(uniform) and L the
            # largest level. The absolute value can make it indefinite, so negative eigenvalues
            # are set to 0.
            basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
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
            case _:
                raise ValueError(f"unknown step {step!r} in the recipe")
    frames_FHW3 = np.clip(np.rint(frames_FHW3), 0, 255).astype(np.uint8)
    match recipe.codec:
        case "jpeg":
            return jpeg_round_trip(frames_FHW3, recipe.quality)
        case "h264":
            return h264_round_trip(frames_FHW3, recipe.quality)
        case "none":
            return frames_FHW3
    raise ValueError(f"codec must be one of {', '.join(_CODECS)}, got {recipe.codec!r}")


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


def jpeg_round_trip(video_FHW3: np.ndarray, quality: int) -> np.ndarray:
    """Compresses every frame separately; uint8 in and out."""

    def round_trip(frame_HW3: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(frame_HW3).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([round_trip(frame) for frame in video_FHW3])


def h264_round_trip(video_FHW3: np.ndarray, crf: int) -> np.ndarray:
    """Compresses the clip as a video, one key frame first; uint8 in and out.

    Raises:
        UserError: odd height or width (4:2:0 chroma has half of each).
        ValueError: the codec lost a frame.
    """
    import av

    _, height, width, _ = video_FHW3.shape
    if height % 2 or width % 2:
        raise UserError(f"H.264 needs an even height and width, got {height} x {width}")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "veryfast", "g": "50", **REPRODUCIBLE}
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame_HW3 in video_FHW3:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HW3, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as reader:
        frames = [frame.to_ndarray(format="rgb24") for frame in reader.decode(video=0)]
    if len(frames) != len(video_FHW3):
        raise ValueError(f"H.264 gave back {len(frames)} of {len(video_FHW3)} frames")
    return np.stack(frames)
