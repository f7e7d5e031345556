"""Trains the image side: `python -m train.text_to_image PRESET --run-dir DIR --model-dir DIR`.

Its parts, in order: autoencoder, text encoder, image UNet. With Stable Diffusion's weights none of
them is needed.
"""

from videogen_jax.commands.run_flags import train_door
from videogen_jax.configs import runs_of
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig

RUNS = runs_of(AutoencoderTaskConfig, TextEncoderTaskConfig, TextToImageTaskConfig)

if __name__ == "__main__":
    train_door(RUNS, "python -m train.text_to_image", "Trains a part of the image model.")
