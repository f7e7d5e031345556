"""What a latent cache is made of, and so what a run has to share with it."""

import dataclasses
from pathlib import Path

from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.reader import CacheDType
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.weights import model_dir
from videogen_jax.weights.stable_diffusion.tokenizer_files import tokenizer_sha256

SHAPES = "shapes"


@dataclasses.dataclass(frozen=True)
class CachedWindows:
    """Everything that the frames and captions of a run are a function of."""

    dataset: str  # "shapes", or the SHA-256 of a dataset's description
    num_frames: int
    resolution: int  # pixels of a window, before it is resized for each denoiser
    examples: int | None = None  # of the shapes; a dataset has the clips it has
    # Of a dataset; the shapes have but one window a clip.
    fps: float | None = None
    random_crop: bool | None = None
    held_back: int | None = None
    seed: int | None = None


@dataclasses.dataclass(frozen=True)
class FrozenNetworks:
    """What made latents and text states: sizes, and the checksums of weights and vocabulary."""

    autoencoder: AutoencoderConfig
    text_encoder: TextEncoderConfig
    autoencoder_sha256: str
    text_encoder_sha256: str
    tokenizer_sha256: str


@dataclasses.dataclass(frozen=True)
class CacheConfig:
    """Everything that decides what a cache holds; a run shares `windows` and `networks`."""

    windows: CachedWindows
    networks: FrozenNetworks
    resolutions: tuple[int, ...]  # pixels, of the denoisers
    epochs: int
    dtype: CacheDType
    clips_per_shard: int


def windows_of(data: DataConfig, seed: int) -> CachedWindows:
    """The windows that a run draws.

    Raises:
        MissingFile: there is no such dataset.
        UserError: its description cannot be read.
    """
    if not data.dataset:
        return CachedWindows(SHAPES, data.num_frames, data.resolution, examples=data.examples)
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
    """The frozen networks of a model directory.

    Raises:
        MissingFile: it lacks one of them.
        UserError: one has no checksum.
    """
    return FrozenNetworks(
        model.autoencoder,
        model.text_encoder,
        model_dir.component_sha256(directory, "autoencoder"),
        model_dir.component_sha256(directory, "text_encoder"),
        tokenizer_sha256(directory / "tokenizer"),
    )
