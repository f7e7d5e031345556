"""Converts Stable Diffusion: `python -m convert.stable_diffusion SOURCE MODEL_DIR`."""

import sys
from pathlib import Path

import tyro

from videogen_jax.presets import PAPER
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.stable_diffusion import convert_stable_diffusion


def main(
    source: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    dtype: DType | None = None,
) -> None:
    """Makes a model directory of a diffusers folder of Stable Diffusion 1 or 2.

    The directory has the text encoder, the image UNet, the autoencoder and the tokenizer, and a
    configuration with the paper's cascade, whose stages can start warm from the image UNet.

    Args:
        source: diffusers folder with safetensors weights.
        model_dir: directory to make.
        dtype: of the weights on disk; the source's if not given.
    """
    try:
        convert_stable_diffusion(source, model_dir, PAPER, dtype)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{model_dir}: text_encoder, image_unet, autoencoder, tokenizer and config.json")


if __name__ == "__main__":
    tyro.cli(main)
