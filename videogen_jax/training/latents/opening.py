"""Opening a latent cache for a run: whether it matches the run, and the shapes of its batches."""

import dataclasses
import logging
from pathlib import Path

import jax
import numpy as np

from videogen_jax.config import ModelConfig
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


def open_cache(config: RunConfig, model_directory: Path) -> LatentCache | None:
    """Opens the cache that a run reads in place of pixels and captions; None if it reads those.

    It prints a warning if the windows of the cache will repeat.

    Raises:
        MissingFile: there is no such cache, dataset or component.
        UserError: the task trains on pixels, the cache is not finished, or its windows or networks
            are not those of the run, or its flows not those of the run's teacher; the message lists
            the fields that differ.
    """
    if not config.data.latent_cache:
        return None
    directory, needed = as_path(config.data.latent_cache), cached_latents(config)
    require_reachable(directory)
    info = read_info(directory)
    there = config_file.from_dict(info["config"], CacheConfig, where=f"{directory}, config")
    now = dataclasses.replace(
        there,
        windows=windows_of(config.data, config.seed),
        networks=networks_of(config.model, model_directory),
    )
    lines = list(config_file.differing_fields(there=there, now=now).values())
    if not set(needed.resolutions) <= set(there.resolutions):
        lines.append(f"  resolutions: {there.resolutions} there, {needed.resolutions} now")
    lines += _other_teacher(there.teacher, needed.flows)
    if lines:
        message = f"{directory}: this latent cache does not match this run; differing fields:"
        raise UserError("\n".join([message, *lines]))
    cache = LatentCache(
        directory,
        needed.resolutions,
        deviation=needed.deviation,
        text=needed.captions,
        flows=bool(needed.flows),
    )
    if config.data.dataset:
        check_batch(config, [str(directory)], len(cache))
        _warn_of_repeats(config, cache)
    return cache


def _other_teacher(there: TeacherNetwork | None, directory: str) -> list[str]:
    """Returns a line if a run has a teacher whose flows the cache does not have."""
    if not directory:
        return []
    if there is None:
        return [f"  teacher: no flows there, those of {directory!r} now (cache-latents --teacher)"]
    now = model_dir.component_sha256(directory, PIXEL_FLOW_COMPONENT)
    return [] if there.sha256 == now else [f"  teacher/sha256: {there.sha256!r} there, {now!r} now"]


def cached_source(config: RunConfig, cache: LatentCache) -> Source:
    """Returns the examples that the run's task trains on, from the cache of `open_cache`.

    Raises:
        UserError: the task trains on triplets, and the windows have no middle frame.
    """
    return CachedTriplets(cache) if cached_latents(config).triplets else cache


def _warn_of_repeats(config: RunConfig, cache: LatentCache) -> None:
    drawn = -(-config.steps * config.batch_size // len(cache))
    if is_main() and drawn > cache.layout.epochs:
        text = f"has windows of {cache.layout.epochs} epochs for a run of {drawn}: they repeat"
        _log.warning("%s: %s", cache.directory, text)


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
        shape = latent_shape(model, 3 if needed.triplets else frames, resolution)
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


def latent_shape(model: ModelConfig, num_frames: int, resolution: int) -> tuple[int, int, int, int]:
    """Returns (frames, height, width, channels) of a clip's latents."""
    side = model.latent_size(resolution)
    return num_frames, side, side, model.autoencoder.latent_channels


def flow_shape(model: ModelConfig, num_frames: int) -> tuple[int, int, int, int, int]:
    """Returns (inner frames, 2 ends, height, width, 2) of the target flows of a clip's latents."""
    _, height, width, _ = latent_shape(model, num_frames, model.refiner.resolution)
    return num_frames - 2, 2, height, width, 2


def text_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the cached arrays of one text."""
    length, width = model.text_encoder.max_length, model.text_encoder.hidden_size
    return {"text_states": (length, width), "text_pooled": (width,)}
