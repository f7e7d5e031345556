"""Trains every part of the shipped model, in order: `python -m train.shapes`; again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train shapes", prog="python -m train.shapes")
