"""Trains the ablations of a shapes model: `python -m train.ablations`; run it again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train ablations", prog="python -m train.ablations")
