"""Writes an ingested dataset for TensorFlow Datasets: `python -m train.to_tfds DATASET OUT`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("to-tfds", prog="python -m train.to_tfds")
