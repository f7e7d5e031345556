"""Trains the paper's ablations of a shapes model: `python -m train.ablations`; again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train ablations", prog="python -m train.ablations")
