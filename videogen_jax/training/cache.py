"""Fills a latent cache with the shapes clips, through a model directory's autoencoder."""

from pathlib import Path

import jax
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.latent_cache import write_latent_cache
from videogen_jax.data.shapes import REFERENCE_RESOLUTION
from videogen_jax.data.sources import ShapesClips, ShapesImages
from videogen_jax.data.transforms import to_float
from videogen_jax.training.frozen import encode_frames
from videogen_jax.training.task import Params
from videogen_jax.weights import config_file, model_dir

BATCH_FRAMES = 128  # encoded at once


def cache_shapes(model_directory: Path, out: Path, clips: int, num_frames: int) -> None:
    """Encodes the first `clips` training clips at the image model's and every stage's resolution.

    Args:
        model_directory: has `config.json` and the autoencoder.
        out: the cache to make, read by `LatentCache`.
        clips: how many.
        num_frames: frames of each clip; 1 takes first frames only, as the image model trains on.

    Raises:
        FileExistsError: `out` is there already.
        FileNotFoundError: the model directory has no autoencoder.
    """
    model = config_file.load_config(model_directory / "config.json", ModelConfig)
    frozen = {"autoencoder": model_dir.load_component(model_directory, "autoencoder")}
    resolutions = {model.image.resolution}
    if num_frames > 1:
        resolutions |= {stage.resolution for stage in model.stages}

    @jax.jit
    def encode(frozen: Params, video: jax.Array) -> dict[int, jax.Array]:
        pixels = to_float(video)
        return {size: encode_frames(model, frozen, pixels, size) for size in sorted(resolutions)}

    batch_size = max(1, BATCH_FRAMES // num_frames)

    def encode_padded(video: np.ndarray) -> dict[int, np.ndarray]:
        missing = batch_size - len(video)  # the last batch: padded, so that it compiles no anew
        padded = np.pad(video, ((0, missing), *((0, 0),) * 4))
        return jax.device_get(encode(frozen, padded))

    size = {"split": "train", "size": clips, "resolution": REFERENCE_RESOLUTION}
    source = ShapesImages(**size) if num_frames == 1 else ShapesClips(**size, num_frames=num_frames)
    write_latent_cache(source, encode_padded, out, batch_size)
