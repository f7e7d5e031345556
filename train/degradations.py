"""Draws clips before and after degradation: `python -m train.degradations DATASET OUT.png`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("degradations", prog="python -m train.degradations")
