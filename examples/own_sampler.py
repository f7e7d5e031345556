"""A sampler of one's own: Heun's method (Karras et al. 2022, Algorithm 1) on the image model.

    python examples/own_sampler.py "a red circle" --steps 12

The library's samplers are tables of coefficients for one compiled loop
(`videogen_jax/diffusion/samplers.py`). A sampler needs nothing of that: it calls the network, a
`SpaceTimeUNet`, and turns its output into an estimate of the clean latents. The stages of the
cascade are the same class, with `fps_B` and more input channels.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from videogen_jax import VideoGen
from videogen_jax.diffusion.process import x0_weights
from videogen_jax.diffusion.schedule import alphas_cumprod
from videogen_jax.media.pictures import save_picture
from videogen_jax.models.unet import SpaceTimeUNet

RHO = 7.0  # of the grid of noise levels (equation 5)


def denoiser(model: VideoGen, prompt: str) -> Any:
    """Returns the compiled function (noisy latents, σ) → clean latents, with guidance.

    Noisy latents are x₀ + σ ε, as in the paper of Karras et al., `[1, 1, h, w, Z]`.
    """
    config = model.config.image
    alpha_bar_T = alphas_cumprod(config.schedule)
    levels_T = np.sqrt((1 - alpha_bar_T) / alpha_bar_T)  # σ of each training timestep
    tokens_BT = model.tokenizer(["", prompt], model.config.text_encoder.max_length)
    text = model.cascade.encode_text(model.params, jnp.asarray(tokens_BT))
    unet: Any = SpaceTimeUNet(config.unet)

    @jax.jit
    def denoise(x: jax.Array, level: jax.Array) -> jax.Array:
        alpha = 1 / jnp.sqrt(1 + level**2)
        noisy = alpha * x  # in the coordinates that the network was trained in
        timestep = jnp.interp(level, levels_T, jnp.arange(len(levels_T)))
        output = unet.apply(
            {"params": model.params["image_unet"]},
            jnp.concatenate([noisy, noisy]),
            jnp.full(2, timestep),
            text.states_BTD,
            pooled_BD=text.pooled_BD,
        )
        unconditional, conditional = jnp.split(output, 2)
        output = unconditional + config.guidance_scale * (conditional - unconditional)
        of_x, of_output = x0_weights(config.schedule.prediction, alpha, alpha * level)
        return of_x * noisy + of_output * output

    return denoise


def heun(denoise: Any, x: jax.Array, levels: np.ndarray) -> jax.Array:
    """Takes Heun's steps from level to level; the last level is 0, where one slope is enough."""
    for level, following in zip(levels, levels[1:], strict=False):
        slope = (x - denoise(x, level)) / level
        moved = x + (following - level) * slope
        if following > 0:
            slope = (slope + (moved - denoise(moved, following)) / following) / 2
            moved = x + (following - level) * slope
        x = moved
    return x


def main(
    prompt: tyro.conf.Positional[str],
    /,
    model: str = "shapes",
    out: Path = Path("outputs/heun.png"),
    steps: int = 12,
    seed: int = 0,
) -> None:
    """Samples an image with Heun's method.

    Args:
        prompt: the prompt.
        model: name of a shipped model, or a model directory.
        out: .png, .jpg or .webp.
        steps: steps; each but the last calls the network twice.
        seed: seed of the noise.
    """
    loaded = VideoGen.load(model)
    config = loaded.config
    alpha_bar_T = alphas_cumprod(config.image.schedule)
    highest, lowest = (np.sqrt((1 - a) / max(a, 1e-5)) for a in (alpha_bar_T[-1], alpha_bar_T[0]))
    ramp = np.linspace(highest ** (1 / RHO), lowest ** (1 / RHO), steps) ** RHO
    levels = np.append(ramp, 0.0).astype(np.float32)
    side = config.latent_size(config.image.resolution)
    shape = (1, 1, side, side, config.autoencoder.latent_channels)
    x = levels[0] * jax.random.normal(jax.random.key(seed), shape)
    latents = heun(denoiser(loaded, prompt), x, levels)
    save_picture(out, loaded.decode(latents)[0, 0])
    print(f"{out}: {steps} steps of Heun's method")


if __name__ == "__main__":
    tyro.cli(main)
