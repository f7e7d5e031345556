"""Extractors: from videos of any size to the features of a metric, each one compiled function.

An extractor owns a network's parameters and applies the metric's preprocessing. It takes uint8
videos `[B, F, H, W, 3]`, RGB, as NumPy or JAX arrays, and returns float32 `[B, D]`. Each new shape
compiles once.

Letters: B batch, F frames, H height, W width, D features; `3` RGB channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from videogen_jax.errors import UserError
from videogen_jax.models.features import i3d, preprocessing
from videogen_jax.models.features.c3d import C3D, C3DConfig
from videogen_jax.models.features.clip import CLIP, CLIPConfig
from videogen_jax.models.features.i3d import I3D, I3DConfig
from videogen_jax.models.parameters import Params
from videogen_jax.tokenizer import Tokenizer


@dataclass(frozen=True)
class Extractor:
    """A function from videos to features, with what it requires of the videos.

    Attributes:
        name: Name of the network, for errors.
        num_features: Number of features D.
        min_frames, max_frames: Allowed numbers of frames; None for no limit.
        apply: Maps uint8 [B, F, H, W, 3] to [B, D].
    """

    name: str
    num_features: int
    min_frames: int
    max_frames: int | None
    apply: Callable[[ArrayLike], jax.Array]

    def __call__(self, videos_BFHW3: ArrayLike) -> np.ndarray:
        """Returns the features of each video, float32 [B, D].

        Raises:
            UserError: The videos are not uint8 RGB, or have too few or too many frames.
        """
        check_videos(videos_BFHW3)
        frames = np.shape(videos_BFHW3)[1]
        most = self.max_frames
        if frames < self.min_frames or (most is not None and frames > most):
            wanted = f"{self.min_frames} frames" + ("" if most == self.min_frames else " or more")
            raise UserError(f"{self.name} needs videos of {wanted}, got {frames}")
        return np.asarray(self.apply(videos_BFHW3), np.float32)


def check_videos(videos_BFHW3: ArrayLike) -> None:
    """Raises UserError unless these are uint8 RGB videos of at least one pixel."""
    shape, dtype = np.shape(videos_BFHW3), getattr(videos_BFHW3, "dtype", None)
    if dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape[1:]:
        raise UserError(f"need uint8 videos [B, F, H, W, 3], got {dtype} of shape {shape}")


def _compiled(function: Callable[[Params, Any], Any]) -> Callable[[Params, Any], jax.Array]:
    """Compiles a function with full float32 products, which TPUs and GPUs round by default."""

    @jax.jit
    def precise(params: Params, x: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(params, x)

    return precise


def i3d_features(
    config: I3DConfig,
    params: Params,
    grid: Literal["tf1", "half_pixel"] = "tf1",
    size: int = preprocessing.I3D_SIZE,
) -> Extractor:
    """Returns the extractor of FVD's features: I3D's logits, averaged over time.

    Args:
        config, params: As from `load_i3d`.
        grid: Resizing, see `preprocessing.i3d_pixels`.
        size: Height and width of the network's input; FVD's is 224.
    """
    network = _compiled(lambda params, x: I3D(config).apply({"params": params}, x))
    params = jax.device_put(params)

    def apply(videos_BFHW3: ArrayLike) -> jax.Array:
        return network(params, preprocessing.i3d_pixels(videos_BFHW3, grid=grid, size=size))

    return Extractor("I3D", config.num_classes, i3d.MIN_FRAMES, None, apply)


def c3d_probabilities(config: C3DConfig, params: Params) -> Extractor:
    """Returns the extractor of the inception score's predictions: C3D's softmax over its classes.

    Args:
        config, params: As from `load_c3d`.
    """
    logits = lambda params, x: jnp.asarray(C3D(config).apply({"params": params}, x))
    network = _compiled(lambda params, x: jax.nn.softmax(logits(params, x)))
    params = jax.device_put(params)

    def apply(videos_BFHW3: ArrayLike) -> jax.Array:
        return network(params, preprocessing.c3d_pixels(videos_BFHW3, params["mean"]))

    return Extractor("C3D", config.num_classes, config.num_frames, config.num_frames, apply)


class ClipExtractor:
    """CLIP's features of frames and of captions, for `clip_similarity`.

    Args:
        config, params, tokenizer: As from `load_clip`.
    """

    def __init__(self, config: CLIPConfig, params: Params, tokenizer: Tokenizer) -> None:
        network = CLIP(config)
        self._config, self._tokenizer = config, tokenizer
        self._params = jax.device_put(params)
        apply = lambda method, params, x: network.apply({"params": params}, x, method=method)
        self._images = _compiled(partial(apply, "images"))
        self._texts = _compiled(partial(apply, "texts"))

    def images(self, videos_BFHW3: ArrayLike) -> np.ndarray:
        """Returns the features of all frames, float32 [B, F, D].

        Raises:
            UserError: The videos are not uint8 RGB.
        """
        check_videos(videos_BFHW3)
        batch, frames, *pixels = np.shape(videos_BFHW3)
        images_NHW3 = jnp.asarray(videos_BFHW3).reshape(batch * frames, *pixels)
        x = preprocessing.clip_pixels(images_NHW3, size=self._config.vision.image_size)
        return np.asarray(self._images(self._params, x)).reshape(batch, frames, -1)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Returns the features of captions, float32 [B, D]; long ones are cut, with a warning."""
        tokens_BT = self._tokenizer(captions, self._config.text.max_length)
        return np.asarray(self._texts(self._params, tokens_BT))
