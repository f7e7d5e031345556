"""Opening a latent cache for a run: whether it matches the run, and the shapes of its batches."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.aspect_batches import Buckets
from videogen_jax.data.clips.aspect_buckets import name_of
from videogen_jax.data.latents.reader import LatentCache, read_info
from videogen_jax.data.latents.triplets import CachedTriplets
from videogen_jax.data.loader import Source
from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.paths import as_path, require_reachable
from videogen_jax.training.latents.config import (
    CacheConfig,
    TeacherNetwork,
    networks_of,
    windows_of,
)
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import check_batch
from videogen_jax.training.task import CachedLatents
from videogen_jax.weights import config_file, model_dir

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BucketCaches:
    """The caches of a run's aspect buckets, in their order."""

    caches: tuple[LatentCache, ...]

    def __len__(self) -> int:
        return sum(map(len, self.caches))

    def text(self) -> dict[str, np.ndarray]:
        """Returns text_states and text_pooled of the empty prompt."""
        return self.caches[0].text()


def bucket_folder(cache: Path, bucket: tuple[int, int] | None) -> Path:
    """Returns the folder of a bucket's cache; that of a run without buckets is the cache's own."""
    return cache if bucket is None else cache / name_of(bucket)


def open_cache(config: RunConfig, model_directory: Path) -> LatentCache | BucketCaches | None:
    """Opens the cache that a run reads in place of pixels and captions; None if it reads those.

    A run with aspect buckets has one for each of them (`BucketCaches`). It prints a warning if the
    windows of the cache will repeat.

    Raises:
        MissingFile: there is no such cache, dataset or component.
        UserError: the task trains on pixels, the cache is not finished, or its windows or networks
            are not those of the run, or its flows not those of the run's teacher; the message lists
            the fields that differ.
    """
    if not config.data.latent_cache:
        return None
    directory, buckets = as_path(config.data.latent_cache), config.data.buckets
    require_reachable(directory)
    opened = [_open(config, model_directory, directory, bucket) for bucket in buckets or (None,)]
    cache = BucketCaches(tuple(opened)) if buckets else opened[0]
    if config.data.dataset:
        _warn_of_repeats(config, opened)
    return cache


def _open(
    config: RunConfig, model_directory: Path, cache: Path, bucket: tuple[int, int] | None
) -> LatentCache:
    """Opens the cache of one bucket, or of a run without buckets; see `open_cache`."""
    directory, needed = bucket_folder(cache, bucket), cached_latents(config)
    info = read_info(directory)
    there = config_file.from_dict(info["config"], CacheConfig, where=f"{directory}, config")
    now = dataclasses.replace(
        there,
        windows=windows_of(config.data, config.seed, bucket),
        networks=networks_of(config.model, model_directory),
    )
    lines = list(config_file.differing_fields(there=there, now=now).values())
    if not set(needed.resolutions) <= set(there.resolutions):
        lines.append(f"  resolutions: {there.resolutions} there, {needed.resolutions} now")
    lines += _other_teacher(there.teacher, needed.flows)
    if lines:
        message = f"{directory}: this latent cache does not match this run; differing fields:"
        raise UserError("\n".join([message, *lines]))
    opened = LatentCache(
        directory,
        needed.resolutions,
        deviation=needed.deviation,
        text=needed.captions,
        flows=bool(needed.flows),
    )
    if config.data.dataset:
        check_batch(config, [str(directory)], len(opened))
    return opened


def _other_teacher(there: TeacherNetwork | None, directory: str) -> list[str]:
    """Returns a line if a run has a teacher whose flows the cache does not have."""
    if not directory:
        return []
    if there is None:
        return [f"  teacher: no flows there, those of {directory!r} now (cache-latents --teacher)"]
    now = model_dir.component_sha256(directory, PIXEL_FLOW_COMPONENT)
    return [] if there.sha256 == now else [f"  teacher/sha256: {there.sha256!r} there, {now!r} now"]


def cached_source(config: RunConfig, cache: LatentCache | BucketCaches) -> Source | Buckets:
    """Returns the examples that the run's task trains on, from the cache of `open_cache`.

    Raises:
        UserError: the task trains on triplets, and the windows have no middle frame.
    """
    if isinstance(cache, BucketCaches):
        return Buckets(cache.caches)
    return CachedTriplets(cache) if cached_latents(config).triplets else cache


def _warn_of_repeats(config: RunConfig, caches: Sequence[LatentCache]) -> None:
    drawn = -(-config.steps * config.batch_size // sum(map(len, caches)))
    epochs = min(cache.layout.epochs for cache in caches)
    if is_main() and drawn > epochs:
        text = f"has windows of {epochs} epochs for a run of {drawn}: they repeat"
        _log.warning("%s: %s", config.data.latent_cache, text)


def cached_latents(config: RunConfig) -> CachedLatents:
    """Returns what the run's task reads from a cache. Raises UserError if it trains on pixels."""
    latents = config.task.cached_latents(config.model)
    if latents is None:
        name = type(config.task).__name__.removesuffix("TaskConfig")
        raise UserError(
            f"data.latent_cache: a run of {name} trains on pixels; only the image UNet, the "
            "stages, the flow and the refiner train on latents"
        )
    return latents


def cached_shapes(config: RunConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the arrays of an example of a latent cache, besides `fps` and `index`."""
    model, needed = config.model, cached_latents(config)
    shapes: dict[str, tuple[int, ...]] = {}
    frames = config.data.num_frames
    for resolution in needed.resolutions:
        size = config.data.size_at(resolution, config.data.largest_size)
        shape = latent_shape(model, 3 if needed.triplets else frames, size)
        shapes[f"latents_{resolution}"] = shape
        if needed.deviation:
            shapes[f"latents_std_{resolution}"] = shape
    if needed.triplets:
        shapes["time"] = ()
    if needed.flows:
        shapes |= dict.fromkeys(("flow_a", "flow_b"), flow_shape(model, frames)[2:])
    if needed.captions:
        shapes |= text_shapes(model)
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


def latent_shape(
    model: ModelConfig, num_frames: int, resolution: int | tuple[int, int]
) -> tuple[int, int, int, int]:
    """Returns (frames, height, width, channels) of a clip's latents.

    `resolution` has the pixels per side, or height and width.
    """
    size = (resolution, resolution) if isinstance(resolution, int) else resolution
    height, width = map(model.latent_size, size)
    return num_frames, height, width, model.autoencoder.latent_channels


def flow_shape(model: ModelConfig, num_frames: int) -> tuple[int, int, int, int, int]:
    """Returns (inner frames, 2 ends, height, width, 2) of the target flows of a clip's latents."""
    _, height, width, _ = latent_shape(model, num_frames, model.refiner.resolution)
    return num_frames - 2, 2, height, width, 2


def text_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the cached arrays of one text."""
    length, width = model.text_encoder.max_length, model.text_encoder.hidden_size
    return {"text_states": (length, width), "text_pooled": (width,)}
