"""Trains the image model: `python -m train.text_to_image PRESET --run-dir DIR --model-dir DIR`.

The parts, in order: autoencoder, text encoder, image UNet. With Stable Diffusion's weights this
training is not needed.
"""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train text-to-image", prog="python -m train.text_to_image")
