"""Encodes clips: `videogen cache-latents DATASET MODEL_DIR OUT`; run it again to resume."""

from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.home import expand_home
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once


def main(
    dataset: tyro.conf.Positional[str],
    model_dir: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    options: Annotated[CacheOptions, tyro.conf.OmitArgPrefixes] = CacheOptions(),
    distributed: DistributedConfig = DistributedConfig(),
) -> None:
    """Encodes clips and captions once, by the frozen networks of a model, and a teacher's flows.

    Args:
        dataset: folder written by `ingest`, or `shapes` for the procedural clips.
        model_dir: folder of `config.json`, the tokenizer, the autoencoder and the text encoder.
        out: the cache's folder; the same command resumes.
        options: which windows are cached, and how.
        distributed: how several processes connect; each is started with the same command.
    """
    connect(distributed)
    enable_compilation_cache()
    with ending_at_once():
        info = make_cache(str(expand_home(dataset)), model_dir, out, options)
        windows = f"{info['clips']} clips, windows of each: {info['epochs']}"
        print(f"{out}: {windows}; {info['bytes'] / 2**20:.1f} MiB")


call = partial(command, main, buckets=("model_dir", "out"))
