"""Creating a latent cache: clips and captions encoded by a model directory's frozen networks."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from videogen_jax import layout as activations
from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.triplets import check_triplet_frames
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.checksums import CHECKSUMS_FILE
from videogen_jax.data.latents.layout import BEGUN_FILE, INFO_FILE, CacheDType, CacheLayout
from videogen_jax.data.latents.reader import read_info
from videogen_jax.data.latents.shards import write_info, write_shards
from videogen_jax.data.loader import Source
from videogen_jax.data.rates import Fps
from videogen_jax.data.shapes.sources import shapes_clips
from videogen_jax.errors import UserError
from videogen_jax.paths import as_path, is_whole, require_reachable
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.latents.config import (
    SHAPES,
    CacheConfig,
    TeacherDType,
    TeacherNetwork,
    networks_of,
    teacher_of,
    windows_of,
)
from videogen_jax.training.latents.encoders import flow_encoder, frozen_encoders
from videogen_jax.training.latents.opening import bucket_folder, flow_shape, latent_shape
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.aspect_buckets import check_sizes
from videogen_jax.training.runs.examples import clip_windows
from videogen_jax.weights import config_file

_DEVICE_PIXELS = 2**22  # that a device encodes together by default
_MOST_WINDOWS = 32
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class CacheOptions:
    """Options of a latent cache. Its windows match those of runs with equal `data.*` and `seed`."""

    num_frames: int | None = None  # of a window; None: the model's
    resolution: int | None = None  # pixels of a window; None: the highest of `resolutions`
    resolutions: tuple[int, ...] = ()  # pixels to encode at; empty: those of the model's denoisers
    epochs: int = 1  # windows of each clip
    dtype: CacheDType = "float32"  # on disk
    seed: int = 0
    fps: Fps = None  # of the windows; two values: the range from which each draws its own
    random_crop: bool = False
    held_back: int = DataConfig.held_back
    max_damaged: float = DataConfig.max_damaged
    examples: int = DataConfig.examples  # clips of the procedural shapes
    buckets: tuple[tuple[int, int], ...] = ()  # heights and widths of windows, see DataConfig
    clips_per_shard: int = 256
    batch_size: int | None = None  # windows that a device encodes together; None: by their size
    num_threads: int = 2  # threads that decode
    # Directory that `videogen convert ifrnet` wrote: its flows, the targets of the flow, are cached
    # too, at the refiner's resolution. A run then names the same teacher.
    teacher: str = ""
    teacher_dtype: TeacherDType = "float32"  # in which the teacher computes; see `dtype` for disk

    def __post_init__(self):
        for name in ("num_frames", "resolution", "epochs", "clips_per_shard", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, expected 1 or more")


def make_cache(
    dataset: str,
    model_directory: Path,
    out: Path,
    options: CacheOptions = CacheOptions(),
    devices: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Encodes the clips of `dataset` into `out`, or those still missing there.

    With several processes, every process makes this call and writes its own shards. With aspect
    buckets, each has a cache in a folder of `out` with its name, such as `48x80`.

    Args:
        dataset: folder of `train.ingest`, or "shapes" for the procedural clips.
        model_directory: contains `config.json`, tokenizer, autoencoder and text encoder.
        out: the cache, which `LatentCache` reads.
        options: options of the cache.
        devices: devices of this process to encode on, by default all.

    Returns:
        The content of `info.json`; with buckets, the sums of the clips and bytes of all.

    Raises:
        MissingFile: there is no such dataset, or the directory of the model or the teacher lacks a
            file.
        UserError: `out` was begun with another configuration (the message lists the fields that
            differ) or has other files, options do not fit the model, too many clips are damaged, or
            a latent or flow is not finite in the dtype on disk.
    """
    for directory in (model_directory, out):
        require_reachable(directory)
    model = config_file.load_config(model_directory / "config.json", ModelConfig)
    data, resolutions = _data_of(dataset, model, options)
    if dataset == SHAPES and options.epochs > 1:
        raise UserError(f"epochs is {options.epochs}, but the shapes are the same in every epoch")
    make = partial(_make_bucket, model, data, resolutions, model_directory, out, options, devices)
    infos = [make(bucket) for bucket in data.buckets or (None,)]
    total = {name: sum(info[name] for info in infos) for name in ("clips", "bytes")}
    return infos[0] | total


def _make_bucket(
    model: ModelConfig,
    data: DataConfig,
    resolutions: tuple[int, ...],
    model_directory: Path,
    cache: Path,
    options: CacheOptions,
    devices: Sequence[Any] | None,
    bucket: tuple[int, int] | None,
) -> dict[str, Any]:
    """Makes the cache of one bucket, or of windows without buckets; returns its `info.json`."""
    out = bucket_folder(cache, bucket)
    config = CacheConfig(
        windows_of(data, options.seed, bucket),
        networks_of(model, model_directory),
        resolutions,
        options.epochs,
        options.dtype,
        options.clips_per_shard,
        _teacher(model, data, resolutions, options),
    )
    source = _source(data, options.seed, bucket)  # first, so that an error leaves no files behind
    _begin(out, config)
    if not (out / INFO_FILE).is_file():
        layout = _layout(model, config, data, len(source))
        mesh = sharding.make_mesh(MeshConfig(), devices or jax.local_devices())
        batch = mesh.size * (options.batch_size or _windows_per_device(config, layout))
        shards = range(jax.process_index(), layout.num_shards, jax.process_count())
        threads, quiet = options.num_threads, not is_main()
        with activations.activate(mesh):
            encoders = frozen_encoders(model, model_directory, layout, mesh, batch)
            if config.teacher is not None:
                flows = flow_encoder(options.teacher, config.teacher.dtype, layout, mesh)
                encoders = dataclasses.replace(encoders, flows=flows)
            write_shards(out, layout, source, encoders, shards, num_threads=threads, quiet=quiet)
        _finish(out, layout, config)
    return read_info(out)


def _data_of(
    dataset: str, model: ModelConfig, options: CacheOptions
) -> tuple[DataConfig, tuple[int, ...]]:
    """Returns the `data` of a run with these windows, and the resolutions of the latents."""
    num_frames = options.num_frames or model.num_frames
    denoisers = (model.image,) if num_frames == 1 else (model.image, *model.stages, model.refiner)
    there = sorted({denoiser.resolution for denoiser in denoisers})
    wanted = sorted(set(options.resolutions))
    if unknown := [resolution for resolution in wanted if resolution not in there]:
        raise UserError(
            f"resolutions has {unknown[0]}, but the model {model.name!r} has denoisers for clips "
            f"of {num_frames} frames at {', '.join(map(str, there))} pixels"
        )
    pixels = options.resolution or max(wanted or there)
    resolutions = wanted or [resolution for resolution in there if resolution <= pixels]
    if not resolutions or max(resolutions) > pixels:
        raise UserError(
            f"resolution is {pixels}, but latents are to be taken at "
            f"{', '.join(map(str, resolutions or there))} pixels: windows must be at least as large"
        )
    data = DataConfig(
        dataset="" if dataset == SHAPES else dataset,
        examples=options.examples,
        num_frames=num_frames,
        resolution=pixels,
        fps=options.fps,
        random_crop=options.random_crop,
        held_back=options.held_back,
        max_damaged=options.max_damaged,
        buckets=options.buckets,
    )
    check_sizes(model, data, resolutions)
    return data, tuple(resolutions)


def _teacher(
    model: ModelConfig, data: DataConfig, resolutions: Sequence[int], options: CacheOptions
) -> TeacherNetwork | None:
    """Returns the teacher whose flows are cached; None for none."""
    if not options.teacher:
        return None
    if not data.dataset:
        raise UserError(
            f"teacher is {options.teacher!r}, but the procedural shapes have true flows, with "
            "which the flow trains without a cache"
        )
    check_triplet_frames(data.num_frames)
    if data.buckets:
        raise UserError("buckets and teacher are both given, but the flow trains on squares")
    if model.refiner.resolution not in resolutions:
        raise UserError(
            f"teacher is {options.teacher!r}, but the flow trains on latents at "
            f"{model.refiner.resolution} pixels, the refiner's resolution, and latents are to be "
            f"taken at {', '.join(map(str, resolutions))}: see resolution and resolutions"
        )
    return teacher_of(as_path(options.teacher), options.teacher_dtype)


def _source(data: DataConfig, seed: int, bucket: tuple[int, int] | None) -> Source:
    if data.dataset:
        place = None if bucket is None else data.buckets.index(bucket)
        return clip_windows(data, data.dataset, "train", seed, place)
    return shapes_clips("train", data.examples, data.resolution, data.num_frames, data.fps)


def _layout(model: ModelConfig, config: CacheConfig, data: DataConfig, clips: int) -> CacheLayout:
    frames, text = config.windows.num_frames, model.text_encoder
    window = config.windows.bucket or data.largest_size
    return CacheLayout(
        clips,
        config.epochs,
        config.clips_per_shard,
        config.dtype,
        {r: latent_shape(model, frames, data.size_at(r, window)) for r in config.resolutions},
        (text.max_length, text.hidden_size),
        None if config.teacher is None else flow_shape(model, frames),
    )


def _begin(out: Path, config: CacheConfig) -> None:
    """Writes the configuration of the cache, or checks that it is the same as before."""
    path = out / BEGUN_FILE
    there = [path.name for path in out.iterdir()] if out.is_dir() else []
    if BEGUN_FILE not in there:
        if unexpected := sorted(name for name in there if not name.startswith(".")):
            raise UserError(
                f"{out} has files that are not of a latent cache of this version "
                f"({unexpected[0]}); choose a new directory"
            )
        config_file.save_config(path, config)  # every process writes the same
        return
    begun = config_file.load_config(path, CacheConfig)
    if lines := list(config_file.differing_fields(there=begun, now=config).values()):
        message = f"{out}: this cache was begun with another configuration; differing fields:"
        raise UserError("\n".join([message, *lines]))


def _windows_per_device(config: CacheConfig, layout: CacheLayout) -> int:
    windows, in_shard = config.windows, layout.shard_clips(0) * layout.epochs
    at_once = _DEVICE_PIXELS // (windows.num_frames * windows.resolution**2)
    return min(_MOST_WINDOWS, in_shard, max(1, at_once))


def _finish(out: Path, layout: CacheLayout, config: CacheConfig) -> None:
    """Waits for the shards of all processes; one of them then describes the cache."""
    if is_main():
        shards = [out / layout.shard_name(number) for number in range(layout.num_shards)]
        _wait_for(lambda: all(is_whole(shard, CHECKSUMS_FILE) for shard in shards))
        write_info(out, layout, config_file.to_dict(config))
    # The other processes wait for it: one that exits earlier would count as lost.
    _wait_for((out / INFO_FILE).is_file)


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(_POLL_SECONDS)
