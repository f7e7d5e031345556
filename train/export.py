"""Adds a run's result to a model directory: `python -m train.export RUN_DIR MODEL_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("export", prog="python -m train.export")
