"""Prints the tables of the paper's ablations on the shapes: `python -m sample.ablations`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("ablations", prog="python -m sample.ablations")
