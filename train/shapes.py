"""Trains all parts of the shipped model: `python -m train.shapes`; run it again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train shapes", prog="python -m train.shapes")
