"""Exports a model to diffusers: `videogen convert to-diffusers MODEL_DIR OUT`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.conversion.to_diffusers import export_to_diffusers
from videogen_jax.weights.model_dir import DType


def main(
    model_dir: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    component: str = "image_unet",
    dtype: DType | None = None,
) -> None:
    """Writes a folder that diffusers' StableDiffusionPipeline loads.

    Args:
        model_dir: model directory.
        out: folder to write.
        component: the UNet to export: image_unet, or the spatial weights of stage_1, ...
        dtype: type of the weights on disk; by default the model's.
    """
    export_to_diffusers(model_dir, out, component, dtype)
    print(f"{out}: text_encoder, unet (of {component}), vae, tokenizer and scheduler")


call = partial(command, main)
