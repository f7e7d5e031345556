"""Writes an ingested dataset as one of TensorFlow Datasets: `python -m train.to_tfds DATASET OUT`."""

from pathlib import Path

import tyro

from videogen_jax.cli import command


def main(dataset: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> None:
    """Writes it by the builder `videogen_clips` and prints the folder; it is not written twice.

    Args:
        dataset: folder that `train.ingest` made.
        out: TFDS's data folder (`data_dir`).
    """
    from videogen_jax.data.clips.tfds_clips import write_tfds

    print(write_tfds(dataset, out))


if __name__ == "__main__":
    command(main, "python -m train.to_tfds")
