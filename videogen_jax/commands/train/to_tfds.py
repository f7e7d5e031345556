"""Writes an ingested dataset as one of TensorFlow Datasets: `videogen to-tfds DATASET OUT`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command


def main(dataset: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> None:
    """Writes it by the builder `videogen_clips` and prints the folder; it is not written twice.

    Args:
        dataset: folder that `ingest` made.
        out: TFDS's data folder (`data_dir`).
    """
    from videogen_jax.data.clips.tfds_clips import write_tfds

    print(write_tfds(dataset, out))


call = partial(command, main)
