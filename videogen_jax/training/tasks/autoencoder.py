"""Training the autoencoder (Rombach et al. 2022) with L1 and a small KL weight, at several sizes.

LPIPS is off unless it has a weight.

The paper uses Stable Diffusion's autoencoder. A small model that ships cannot download one and
trains its own. Every stage of the cascade encodes clips resized to its resolution, so the
autoencoder trains at all of these resolutions.

Letters: B batch, F frames, H height, W width, C channels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.autoencoder import Autoencoder, LatentDistribution
from videogen_jax.models.layers import fold_frames
from videogen_jax.models.parameters import init_autoencoder
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.decode import quantise
from videogen_jax.training.losses.perceptual import perceptual_loss, perceptual_network
from videogen_jax.training.previews import Drawing
from videogen_jax.training.task import (
    Batch,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    without_remat,
)

SAMPLE_IMAGES = 12
STANDARDISED_IMAGES = 256  # their latents have mean 0 and standard deviation 1 after export


@dataclasses.dataclass(frozen=True)
class AutoencoderTaskConfig(TaskConfig):
    """Resolutions and loss weights of the autoencoder task."""

    command = "text_to_image"

    resolutions: tuple[int, ...] = (64, 32)  # pixels; every batch is encoded at each
    kl_weight: float = 1e-6
    # Weight of the squared error: with L1 alone, training first learns to ignore small objects.
    squared_weight: float = 4.0
    lpips: str = ""  # directory that `videogen convert lpips` wrote, for a perceptual weight
    perceptual_weight: float = 0.0  # of LPIPS (1 in Stable Diffusion's); 0: without

    def component(self) -> str:
        return "autoencoder"

    def build(self, context: TaskContext) -> "AutoencoderTask":
        return AutoencoderTask(self, context)


class AutoencoderTask(Task):
    """The KL autoencoder on single frames, `video` of the batch taken frame by frame."""

    def __init__(self, config: AutoencoderTaskConfig, context: TaskContext):
        dtype = without_remat(context.compute, "autoencoder").dtype
        self.config, self._context = config, context
        self._network = Autoencoder(context.model.autoencoder, dtype)
        self.frozen: Params = perceptual_network(config.lpips, config.perceptual_weight, context)
        self._means = jax.jit(lambda params, x: self._encode(params, x).mean)
        pixels = sum(size**2 for size in config.resolutions)
        self.drawing = Drawing(context, SAMPLE_IMAGES, pixels, self._rows)

    def init(self, key: jax.Array) -> Params:
        return init_autoencoder(key, self._network.config)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        video = to_float(batch["video"])
        images = fold_frames(video)
        total, metrics = jnp.zeros(()), {}
        for i, size in enumerate(self.config.resolutions):
            x = resize(images, size)
            latents = self._encode(params, x)
            shape = (video.shape[1], *latents.mean.shape[1:])
            eps = fold_frames(noise.normal(noise.fold_in(keys_B, i), shape))
            decoded = self._decode(params, latents.at(eps))
            difference = decoded - x
            error = jnp.abs(difference) + self.config.squared_weight * jnp.square(difference)
            total += error.mean() + self.config.kl_weight * latents.kl().mean()
            metrics[f"psnr_{size}"] = psnr(decoded, x)
            if weight := self.config.perceptual_weight:
                metrics[f"lpips_{size}"] = perceptual_loss(frozen, decoded, x)
                total += weight * metrics[f"lpips_{size}"]
        return total / len(self.config.resolutions), metrics

    def _encode(self, params: Params, x: jax.Array) -> LatentDistribution:
        latents: Any = self._network.apply({"params": params}, x, method="encode")
        return latents

    def _decode(self, params: Params, z: jax.Array) -> jax.Array:
        pixels: Any = self._network.apply({"params": params}, z, method="decode")
        return pixels

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Returns rows of images and reconstructions per resolution, enlarged to the largest."""
        images, largest, rows = to_float(batch["video"][:, 0]), max(self.config.resolutions), []
        for size in self.config.resolutions:
            x, repeat = resize(images, size), largest // size
            decoded = self._decode(params, self._encode(params, x).mean)
            rows += [quantise(row.repeat(repeat, 1).repeat(repeat, 2)) for row in (x, decoded)]
        return jnp.stack(rows, axis=1)

    def _images(self, number: int) -> jax.Array:
        """Returns first frames, float `[N, H, W, 3]`: of training clips, or of validation shapes.

        A small dataset has too few validation clips for the statistics of latents.
        """
        context = self._context
        examples = context.training if context.data.has_clips else context.validation
        frames = [example["video"][0] for example in examples(number)]
        return to_float(jnp.asarray(np.stack(frames)))

    def components(self, params: Params) -> dict[str, Params]:
        images = self._images(STANDARDISED_IMAGES)
        latents = [self._means(params, resize(images, size)) for size in self.config.resolutions]
        flat = jnp.concatenate([z.reshape(-1, z.shape[-1]) for z in latents])
        return {"autoencoder": standardise(params, flat.mean(0), flat.std(0))}


def psnr(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the peak signal-to-noise ratio in dB of a batch of images in [-1, 1] (peak 2)."""
    return 10.0 * jnp.log10(4.0 / jnp.square(jnp.clip(x, -1, 1) - y).mean())


def standardise(params: Params, mean: jax.Array, std: jax.Array) -> Params:
    """Returns the same autoencoder with latents `(z − mean) / std`, per latent channel.

    Mean and std are absorbed into the two 1×1 convolutions at the latents, so the decoded images
    stay the same.
    """
    channels = mean.shape[0]
    quant, post = params["quant_conv"], params["post_quant_conv"]
    scale = jnp.concatenate([1 / std, jnp.ones(channels)])
    shift = jnp.concatenate([-mean / std, -2 * jnp.log(std)])
    new_quant = {"kernel": quant["kernel"] * scale, "bias": quant["bias"] * scale + shift}
    new_post = {
        "kernel": post["kernel"] * std[:, None],
        "bias": post["bias"] + mean @ post["kernel"][0, 0],
    }
    return {**params, "quant_conv": new_quant, "post_quant_conv": new_post}
