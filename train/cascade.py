"""Trains a stage of the cascade: `python -m train.cascade PRESET --run-dir DIR --model-dir DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train cascade", prog="python -m train.cascade")
