"""Encodes clips once: `videogen cache-latents DATASET MODEL_DIR OUT`; again to go on."""

from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from videogen_jax.cli import command, enable_compilation_cache
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
    """Writes what the frozen autoencoder and text encoder make of clips and captions.

    Args:
        dataset: folder that `ingest` made, or `shapes` for the procedural clips.
        model_dir: has `config.json`, the tokenizer, the autoencoder and the text encoder.
        out: the cache's folder; the same line again goes on.
        options: which windows are cached, where and how.
        distributed: how several processes find each other; each is started with the same line.
    """
    connect(distributed)
    enable_compilation_cache()
    with ending_at_once():
        info = make_cache(dataset, model_dir, out, options)
        windows = f"{info['clips']} clips, windows of each: {info['epochs']}"
        print(f"{out}: {windows}; {info['bytes'] / 2**20:.1f} MiB")


call = partial(command, main)
