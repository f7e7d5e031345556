"""The configuration of a latent cache, which a run that trains from it must match."""

import dataclasses
from pathlib import Path
from typing import Literal

from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.layout import CacheDType
from videogen_jax.data.rates import Fps
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.training.teacher import check_teacher
from videogen_jax.weights import model_dir
from videogen_jax.weights.configured import load_configuration
from videogen_jax.weights.stable_diffusion.tokenizer_files import tokenizer_sha256

SHAPES = "shapes"
TeacherDType = Literal["float32", "bfloat16"]


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
    buckets: tuple[tuple[int, int], ...] = ()
    bucket: tuple[int, int] | None = None  # of `buckets`, the one whose clips these are


@dataclasses.dataclass(frozen=True)
class FrozenNetworks:
    """The networks behind latents and text states: sizes, checksums of weights and vocabulary."""

    autoencoder: AutoencoderConfig
    text_encoder: TextEncoderConfig
    autoencoder_sha256: str
    text_encoder_sha256: str
    tokenizer_sha256: str


@dataclasses.dataclass(frozen=True)
class TeacherNetwork:
    """The network behind the target flows: its sizes, its checksum, and how it was computed."""

    flow: FlowConfig
    sha256: str
    dtype: TeacherDType  # of parameters and computation


@dataclasses.dataclass(frozen=True)
class CacheConfig:
    """Everything that determines a cache's contents.

    Runs must match `windows` and `networks`, and a run with a teacher also that of the cache.
    """

    windows: CachedWindows
    networks: FrozenNetworks
    resolutions: tuple[int, ...]  # in pixels, of the denoisers
    epochs: int
    dtype: CacheDType
    clips_per_shard: int
    teacher: TeacherNetwork | None = None  # None: no flows, as in caches of earlier versions


def windows_of(data: DataConfig, seed: int, bucket: tuple[int, int] | None = None) -> CachedWindows:
    """Returns the windows that a run draws, of one bucket if it has any.

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
        buckets=data.buckets,
        bucket=bucket,
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


def teacher_of(directory: Path, dtype: TeacherDType) -> TeacherNetwork:
    """Returns the network that `convert.ifrnet` wrote, without reading its parameters.

    Raises:
        MissingFile: the directory has no `pixel_flow`.
        UserError: its configuration is damaged, it has no checksum, or it does not take RGB frames.
    """
    sha256 = model_dir.component_sha256(directory, PIXEL_FLOW_COMPONENT)
    sizes = load_configuration(directory, PIXEL_FLOW_COMPONENT, FlowConfig)
    check_teacher(directory, sizes)
    return TeacherNetwork(sizes, sha256, dtype)
