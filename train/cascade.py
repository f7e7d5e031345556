"""Trains a stage of the cascade: `python -m train.cascade PRESET --run-dir DIR --model-dir DIR`."""

from videogen_jax.commands.run_flags import train_door
from videogen_jax.configs import runs_of

RUNS = runs_of("cascade")

if __name__ == "__main__":
    train_door(RUNS, "python -m train.cascade", "Trains a stage of the cascade (§3.2).")
