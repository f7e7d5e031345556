"""Trains the image side: `python -m train.text_to_image PRESET --run-dir DIR --model-dir DIR`.

Its parts, in order: autoencoder, text encoder, image UNet. With Stable Diffusion's weights none of
them is needed.
"""

from videogen_jax.commands.run_flags import train_door
from videogen_jax.configs import runs_of

RUNS = runs_of("text_to_image")

if __name__ == "__main__":
    train_door(RUNS, "python -m train.text_to_image", "Trains a part of the image model.")
