"""Scores a model or a folder of videos: `python -m sample.evaluate --model DIR --real DATASET`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("evaluate", prog="python -m sample.evaluate")
