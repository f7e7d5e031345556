"""Decoding latents to pixels, in windows of frames (§3.4).

Letters: B samples, F frames, H height, W width, C = 3 colour channels, Z latent channels.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import Autoencoder, AutoencoderConfig, unscale_latents
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.pipeline.denoise import Params, Tick
from videogen_jax.pipeline.frame_windows import frame_windows
from videogen_jax.pipeline.groups import CLIP_PIXELS, IMAGE_PIXELS, at_once, in_groups
from videogen_jax.sharding import to_host

DecoderName = Literal["video", "image"]

# Frames in a window of the decoder, and the least overlap of two windows. A clip as long as the
# cascade's is one window.
WINDOW, OVERLAP = 16, 4


def quantise(pixels: Any) -> Any:
    """Converts floats in [-1, 1] (clipped) to uint8 in 0..255, for NumPy and JAX arrays."""
    return ((pixels.clip(-1.0, 1.0) + 1.0) * 127.5).round().astype(np.uint8)


def unit_range(pixels: Any) -> Any:
    """Converts floats in [-1, 1] (clipped) to floats in [0, 1], for NumPy and JAX arrays."""
    return (pixels.clip(-1.0, 1.0) + 1.0) / 2.0


def decode_frames(
    config: AutoencoderConfig,
    params: Params,
    latents_BFHWZ: jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Decodes scaled latents with the image decoder, frame by frame, a few at a time (`groups.py`).

    Args:
        config: the autoencoder's configuration.
        params: the autoencoder's parameters.
        latents_BFHWZ: latents of the model space, of any resolution.
        dtype: dtype of the decoder's computation.

    Returns:
        pixels `[B, F, H, W, 3]`, about in [-1, 1].
    """
    network: Any = Autoencoder(config, dtype)  # Any: flax types the result of `apply` as a union
    raw_NHWZ = unscale_latents(config, fold_frames(latents_BFHWZ))

    def decode(images_NHWZ: jax.Array) -> jax.Array:
        return network.apply({"params": params}, images_NHWZ, method="decode")

    size = at_once(IMAGE_PIXELS, *_pixels(config, latents_BFHWZ)[1:])
    return unfold_frames(in_groups(decode, raw_NHWZ, size), latents_BFHWZ.shape[1])


def decode_clips(network: VideoDecoder, params: Params, latents_BFHWZ: jax.Array) -> jax.Array:
    """Decodes scaled latents with a video decoder, a few clips at a time (`groups.py`).

    Returns pixels `[B, F, H, W, 3]`, about in [-1, 1].
    """
    apply: Any = network.apply  # Any: flax types the result as a union

    def decode(raw_BFHWZ: jax.Array) -> jax.Array:
        return apply({"params": params}, raw_BFHWZ)

    size = at_once(CLIP_PIXELS, *_pixels(network.config, latents_BFHWZ))
    return in_groups(decode, unscale_latents(network.config, latents_BFHWZ), size, "batch")


def _pixels(config: AutoencoderConfig, latents_BFHWZ: jax.Array) -> tuple[int, int, int]:
    """Returns frames, height and width of a decoded clip."""
    _, frames, height, width, _ = latents_BFHWZ.shape
    return frames, config.factor * height, config.factor * width


class FrameDecoder:
    """The video decoder, and the image decoder that Fig. 7 compares it with, in windows of frames.

    A clip of up to `window` frames is decoded in one pass. A longer one is decoded in windows of
    equal length, spread evenly, which overlap by at least `overlap` frames and are blended linearly
    there. A window is decoded a few clips or images at a time. So memory on the device does not
    grow with the clip or the batch, and on the host only by the result. Image decoding does not
    depend on the windows. Video decoding does: temporal attention sees one window and temporal
    convolutions end at its edge, so blended frames are close, but not equal, to those of the whole
    clip decoded in one pass.

    Raises UserError unless 0 ≤ overlap < window.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        dtype: DTypeLike = jnp.float32,
        window: int = WINDOW,
        overlap: int = OVERLAP,
    ):
        if not 0 <= overlap < window:
            raise UserError(f"overlap is {overlap}, expected at least 0 and below window={window}")
        self._config, self._window, self._overlap = config, window, overlap
        self._video = VideoDecoder(config, dtype)
        self._dtype = dtype
        self._decode = {
            "video": jax.jit(self._decode_video),
            "image": jax.jit(self._decode_image),
        }

    def __call__(
        self,
        params: Mapping[str, Params],
        latents_BFHWZ: jax.Array,
        decoder: DecoderName = "video",
        tick: Tick | None = None,
    ) -> np.ndarray:
        """Decodes latents of the model space to uint8 `[B, F, H, W, 3]` on the host.

        Args:
            params: `{component: parameters}` with `video_decoder` or `autoencoder`.
            latents_BFHWZ: latents of any number of frames and any resolution.
            decoder: which decoder to use, "video" or "image".
            tick: called after each window with the number of frames just finished.
        """
        pieces = self.stream(params, [latents_BFHWZ], latents_BFHWZ.shape[1], decoder, tick)
        return np.concatenate(list(pieces), axis=1)

    def stream(
        self,
        params: Mapping[str, Params],
        pieces: Iterable[jax.Array | np.ndarray],
        num_frames: int,
        decoder: DecoderName = "video",
        tick: Tick | None = None,
    ) -> Iterator[np.ndarray]:
        """Decodes a clip that comes in pieces, as `__call__` decodes the whole clip at once.

        Args:
            params, decoder, tick: as for `__call__`.
            pieces: latents `[B, F, H, W, Z]`, any number of frames each.
            num_frames: frames of all pieces together.

        Yields:
            uint8 `[B, F, H, W, 3]`, the frames that no later window changes.
        """
        component = {"video": "video_decoder", "image": "autoencoder"}[decoder]
        window = min(self._window, num_frames)
        starts = window_starts(num_frames, window, self._overlap)
        weights = window_weights(num_frames, window, starts)
        ends = [*starts[1:], num_frames]
        windows = frame_windows(pieces, starts, window)
        begun_BFHWC: np.ndarray | None = None  # the frames shared with the previous window
        for latents_BFHWZ, start, end, weight_F in zip(windows, starts, ends, weights, strict=True):
            pixels = to_host(self._decode[decoder](params[component], latents_BFHWZ))
            pixels = weight_F[:, None, None, None] * pixels
            if begun_BFHWC is not None:
                pixels[:, : begun_BFHWC.shape[1]] += begun_BFHWC
            begun_BFHWC = pixels[:, end - start :]
            if tick is not None:
                tick(end - start)
            yield quantise(pixels[:, : end - start])

    def _decode_video(self, params: Params, latents_BFHWZ: jax.Array) -> jax.Array:
        return decode_clips(self._video, params, latents_BFHWZ)

    def _decode_image(self, params: Params, latents_BFHWZ: jax.Array) -> jax.Array:
        return decode_frames(self._config, params, latents_BFHWZ, self._dtype)


def window_starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """Returns the first frames of the fewest windows that cover the clip, spread evenly."""
    if num_frames <= window:
        return [0]
    count = math.ceil((num_frames - overlap) / (window - overlap))
    return np.linspace(0, num_frames - window, count).round().astype(int).tolist()


def window_weights(num_frames: int, window: int, starts: list[int]) -> np.ndarray:
    """Returns the blending weights of the windows' frames, `[windows, window]`.

    Weights are linear across an overlap. Those of one frame sum to 1 over the windows with it.
    """
    rising = np.arange(1, window + 1)
    ramp = np.minimum(rising, rising[::-1]).astype(np.float32)
    total_F = np.zeros(num_frames, np.float32)
    for start in starts:
        total_F[start : start + window] += ramp
    return np.stack([ramp / total_F[start : start + window] for start in starts])
