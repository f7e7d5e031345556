"""Exports an image model to diffusers, and makes the same picture with both.

    python examples/to_diffusers.py MODEL_DIR outputs/diffusers

MODEL_DIR is a converted Stable Diffusion, or a model that was trained from one: diffusers cannot
express the model that ships, whose autoencoder and schedule are its own. This example needs torch
and diffusers.
"""

from pathlib import Path

import numpy as np
import torch
import tyro
from diffusers import DDIMScheduler, StableDiffusionPipeline

from videogen_jax import VideoGen
from videogen_jax.conversion.to_diffusers import export_to_diffusers
from videogen_jax.media.pictures import picture_grid, save_picture


def main(
    model_dir: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    prompt: str = "a red circle",
    steps: int = 20,
    seed: int = 0,
) -> float:
    """Exports a model and compares a picture; returns the largest difference, in levels of 255.

    Args:
        model_dir: the model directory.
        out: the folder for diffusers to write; beside it, a picture of both results.
        prompt: the prompt.
        steps: DDIM steps.
        seed: seed of the noise.
    """
    export_to_diffusers(model_dir, out)
    model = VideoGen.load(model_dir)
    side = model.config.latent_size(model.config.image.resolution)
    noise_BHWZ = np.random.default_rng(seed).standard_normal((1, side, side, 4), np.float32)
    ours = model.images(prompt, latents=noise_BHWZ, sampler="ddim", steps=steps, guidance=7.5)

    pipeline = StableDiffusionPipeline.from_pretrained(out)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    theirs = pipeline(
        prompt,
        latents=torch.from_numpy(noise_BHWZ.transpose(0, 3, 1, 2)),  # channels first
        num_inference_steps=steps,
        guidance_scale=7.5,
        output_type="np",
    ).images
    both = np.concatenate([ours, (255 * theirs).round().astype(np.uint8)])
    save_picture(out.with_suffix(".png"), picture_grid(both, columns=2))
    difference = float(np.abs(both[0].astype(float) - both[1]).max())
    print(
        f"{out.with_suffix('.png')}: this library left, diffusers right; at most {difference} off"
    )
    return difference


if __name__ == "__main__":
    tyro.cli(main)
