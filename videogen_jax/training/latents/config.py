"""The configuration of a latent cache, which a run that trains from it must match."""

import dataclasses
from pathlib import Path

from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.reader import CacheDType
from videogen_jax.data.rates import Fps
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.weights import model_dir
from videogen_jax.weights.stable_diffusion.tokenizer_files import tokenizer_sha256

SHAPES = "shapes"


@dataclasses.dataclass(frozen=True)
class CachedWindows:
    """Everything that determines the frames and captions of a run."""

    dataset: str  # "shapes", or the SHA-256 of a dataset's description
    num_frames: int
    resolution: int  # pixels of a window, before it is resized for each denoiser
    examples: int | None = None  # number of procedural clips; None for a dataset
    fps: Fps = None
    # For a dataset only: procedural clips have one window each.
    random_crop: bool | None = None
    held_back: int | None = None
    seed: int | None = None


@dataclasses.dataclass(frozen=True)
class FrozenNetworks:
    """The networks behind latents and text states: sizes, checksums of weights and vocabulary."""

    autoencoder: AutoencoderConfig
    text_encoder: TextEncoderConfig
    autoencoder_sha256: str
    text_encoder_sha256: str
    tokenizer_sha256: str


@dataclasses.dataclass(frozen=True)
class CacheConfig:
    """Everything that determines a cache's contents; runs must match `windows` and `networks`."""

    windows: CachedWindows
    networks: FrozenNetworks
    resolutions: tuple[int, ...]  # in pixels, of the denoisers
    epochs: int
    dtype: CacheDType
    clips_per_shard: int


def windows_of(data: DataConfig, seed: int) -> CachedWindows:
    """Returns the windows that a run draws.

    Raises:
        MissingFile: there is no such dataset.
        UserError: the description of the dataset cannot be read.
    """
    if not data.dataset:
        windows = CachedWindows(SHAPES, data.num_frames, data.resolution, fps=data.fps)
        return dataclasses.replace(windows, examples=data.examples)
    return CachedWindows(
        ClipDataset(data.dataset).sha256(),
        data.num_frames,
        data.resolution,
        fps=data.fps,
        random_crop=data.random_crop,
        held_back=data.held_back,
        seed=seed,
    )


def networks_of(model: ModelConfig, directory: Path) -> FrozenNetworks:
    """Returns the frozen networks of a model directory.

    Raises:
        MissingFile: the directory lacks one of them.
        UserError: one of them has no checksum.
    """
    return FrozenNetworks(
        model.autoencoder,
        model.text_encoder,
        model_dir.component_sha256(directory, "autoencoder"),
        model_dir.component_sha256(directory, "text_encoder"),
        tokenizer_sha256(directory / "tokenizer"),
    )
