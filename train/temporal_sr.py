"""Trains temporal SR: `python -m train.temporal_sr PRESET --run-dir DIR --model-dir DIR`.

Train the flow network first, then the refiner, which needs it.
"""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train temporal-sr", prog="python -m train.temporal_sr")
