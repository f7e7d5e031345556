"""Creating a latent cache: clips and captions encoded by a model directory's frozen networks.

Letters: B windows, F frames, H height, W width, T tokens; a trailing 3 are RGB channels.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax import layout as activations
from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.reader import (
    BEGUN_FILE,
    INFO_FILE,
    CacheDType,
    CacheLayout,
    read_info,
)
from videogen_jax.data.latents.shards import Encoders, write_info, write_shards
from videogen_jax.data.loader import Source
from videogen_jax.data.rates import Fps
from videogen_jax.data.shapes.sources import shapes_clips
from videogen_jax.data.transforms import to_float
from videogen_jax.errors import UserError
from videogen_jax.pipeline.encode import encode_posterior
from videogen_jax.sharding import MeshConfig
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.frozen import encode_text
from videogen_jax.training.latents.config import SHAPES, CacheConfig, networks_of, windows_of
from videogen_jax.training.latents.opening import latent_shape
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.directory import differing_fields
from videogen_jax.training.runs.examples import clip_windows
from videogen_jax.training.task import Params
from videogen_jax.weights import config_file, model_dir

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
    clips_per_shard: int = 256
    batch_size: int | None = None  # windows that a device encodes together; None: by their size
    num_threads: int = 2  # threads that decode

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

    With several processes, every process makes this call and writes its own shards.

    Args:
        dataset: folder of `train.ingest`, or "shapes" for the procedural clips.
        model_directory: contains `config.json`, tokenizer, autoencoder and text encoder.
        out: the cache, which `LatentCache` reads.
        options: options of the cache.
        devices: devices of this process to encode on, by default all.

    Returns:
        The content of `info.json`.

    Raises:
        MissingFile: there is no such dataset, or the model directory lacks a file.
        UserError: `out` was begun with another configuration (the message lists the fields that
            differ) or has other files, options do not fit the model, too many clips are damaged, or
            a latent is not finite in the dtype on disk.
    """
    model = config_file.load_config(model_directory / "config.json", ModelConfig)
    data, resolutions = _data_of(dataset, model, options)
    if dataset == SHAPES and options.epochs > 1:
        raise UserError(f"epochs is {options.epochs}, but the shapes are the same in every epoch")
    config = CacheConfig(
        windows_of(data, options.seed),
        networks_of(model, model_directory),
        resolutions,
        options.epochs,
        options.dtype,
        options.clips_per_shard,
    )
    source = _source(data, options.seed)  # first, so that an error leaves no files behind
    _begin(out, config)
    if not (out / INFO_FILE).is_file():
        layout = _layout(model, config, len(source))
        mesh = sharding.make_mesh(MeshConfig(), devices or jax.local_devices())
        batch = mesh.size * (options.batch_size or _windows_per_device(config, layout))
        shards = range(jax.process_index(), layout.num_shards, jax.process_count())
        threads, quiet = options.num_threads, not is_main()
        with activations.activate(mesh):
            encoders = _encoders(model, model_directory, layout, mesh, batch)
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
    )
    return data, tuple(resolutions)


def _source(data: DataConfig, seed: int) -> Source:
    if data.dataset:
        return clip_windows(data, data.dataset, "train", seed)
    return shapes_clips("train", data.examples, data.resolution, data.num_frames, data.fps)


def _layout(model: ModelConfig, config: CacheConfig, clips: int) -> CacheLayout:
    frames, text = config.windows.num_frames, model.text_encoder
    return CacheLayout(
        clips,
        config.epochs,
        config.clips_per_shard,
        config.dtype,
        {size: latent_shape(model, frames, size) for size in config.resolutions},
        (text.max_length, text.hidden_size),
    )


def _begin(out: Path, config: CacheConfig) -> None:
    """Writes the configuration of the cache, or checks that it is the same as before."""
    path = out / BEGUN_FILE
    there = os.listdir(out) if out.is_dir() else []
    if BEGUN_FILE not in there:
        if unexpected := sorted(name for name in there if not name.startswith(".")):
            raise UserError(
                f"{out} has files that are not of a latent cache of this version "
                f"({unexpected[0]}); choose a new directory"
            )
        config_file.save_config(path, config)  # every process writes the same
        return
    begun = config_file.load_config(path, CacheConfig)
    if lines := list(differing_fields(there=begun, now=config).values()):
        message = f"{out}: this cache was begun with another configuration; differing fields:"
        raise UserError("\n".join([message, *lines]))


def _windows_per_device(config: CacheConfig, layout: CacheLayout) -> int:
    windows, in_shard = config.windows, layout.shard_clips(0) * layout.epochs
    at_once = _DEVICE_PIXELS // (windows.num_frames * windows.resolution**2)
    return min(_MOST_WINDOWS, in_shard, max(1, at_once))


def _encoders(
    model: ModelConfig, directory: Path, layout: CacheLayout, mesh: jax.sharding.Mesh, batch: int
) -> Encoders:
    """Returns the frozen networks on the mesh; each device always has equally many windows."""
    tokenizer = load_tokenizer(directory / "tokenizer")
    names = ("autoencoder", "text_encoder")
    frozen = {name: model_dir.load_component(directory, name) for name in names}
    frozen = sharding.put_tree(frozen, sharding.tree_shardings(mesh, frozen))

    @jax.jit
    def latents(frozen: Params, video_BFHW3: jax.Array) -> dict[int, jax.Array]:
        pixels = to_float(video_BFHW3)
        moments = {r: encode_posterior(model, frozen, pixels, r) for r in layout.latents}
        return {resolution: jnp.stack(pair, axis=1) for resolution, pair in moments.items()}

    @jax.jit
    def text(frozen: Params, tokens_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        states = encode_text(model, frozen, tokens_BT)
        return states.states_BTD, states.pooled_BD

    def sharded(function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
        put = lambda array: sharding.put_batch(mesh, {"batch": array})["batch"]
        return lambda array: jax.device_get(function(frozen, put(array)))

    length = model.text_encoder.max_length
    tokens = lambda captions: tokenizer(captions, length)
    return Encoders(sharded(latents), tokens, sharded(text), batch)


def _finish(out: Path, layout: CacheLayout, config: CacheConfig) -> None:
    """Waits for the shards of all processes; one of them then describes the cache."""
    if is_main():
        shards = [out / layout.shard_name(number) for number in range(layout.num_shards)]
        _wait_for(lambda: all(shard.is_dir() for shard in shards))
        write_info(out, layout, config_file.to_dict(config))
    # The other processes wait for it: one that exits earlier would count as lost.
    _wait_for((out / INFO_FILE).is_file)


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(_POLL_SECONDS)
