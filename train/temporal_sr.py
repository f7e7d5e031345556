"""Trains temporal super-resolution: `python -m train.temporal_sr PRESET --run-dir DIR --model-dir DIR`.

The flow network first, then the refiner, which needs it.
"""

from videogen_jax.commands.run_flags import train_door
from videogen_jax.configs import runs_of

RUNS = runs_of("temporal_sr")

if __name__ == "__main__":
    train_door(RUNS, "python -m train.temporal_sr", "Trains the flow or the refiner (§3.3).")
