"""Writes an ingested dataset for TensorFlow Datasets: `videogen to-tfds DATASET OUT`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command


def main(dataset: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> None:
    """Writes a dataset with the TFDS builder `videogen_clips`, and prints its folder.

    A dataset that already exists is not overwritten.

    Args:
        dataset: folder written by `ingest`.
        out: TFDS's data folder (`data_dir`).
    """
    from videogen_jax.data.clips.sources.tfds_clips import write_tfds

    print(write_tfds(dataset, out))


call = partial(command, main)
