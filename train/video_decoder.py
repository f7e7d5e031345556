"""Trains the video decoder: `python -m train.video_decoder PRESET --run-dir DIR --model-dir DIR`."""

from videogen_jax.commands.run_flags import train_door
from videogen_jax.configs import runs_of

RUNS = runs_of("video_decoder")

if __name__ == "__main__":
    train_door(RUNS, "python -m train.video_decoder", "Trains the decoder (§3.4).")
