"""Training the text-to-image model (§3.1): latents of single frames, given their captions.

The paper takes Stable Diffusion's; a small model that ships trains its own on first frames of clips.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.models.parameters import init_unet
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.pipeline import noise
from videogen_jax.training.frozen import batch_text, clip_latents
from videogen_jax.training.losses.diffusion import denoising_loss
from videogen_jax.training.task import (
    Batch,
    ComputeConfig,
    DrawSamples,
    Metrics,
    Params,
    begin_from,
)


@dataclasses.dataclass(frozen=True)
class TextToImageTaskConfig:
    """What training starts from, and what its loss drops and weighs."""

    warm_start: str = ""  # the component to go on from, such as image_unet; "" for none
    text_dropout: float = 0.1
    min_snr_gamma: float | None = None
    posterior_noise: bool = True  # latents are draws of the autoencoder's posterior, not its mean


class TextToImageTask:
    """The image UNet on the first frame of each clip of the batch.

    Args:
        config: dropout and weighting.
        model: the whole model's configuration.
        frozen: parameters of `text_encoder` and `autoencoder`.
        null_tokens_T: the empty prompt's tokens.
        samples: draws pictures of prompts from parameters and a seed.
        warm_start_params: of the component that the config names, None for none.
        compute: how the UNet computes.
    """

    def __init__(
        self,
        config: TextToImageTaskConfig,
        model: ModelConfig,
        frozen: Params,
        null_tokens_T: np.ndarray,
        samples: DrawSamples,
        warm_start_params: Params | None = None,
        compute: ComputeConfig = ComputeConfig(),
    ):
        self._config, self._model = config, model
        self._unet = SpaceTimeUNet(model.image.unet, compute.dtype, compute.remat)
        self.frozen = frozen
        self._null_tokens_T = jnp.asarray(null_tokens_T)
        self.samples = samples
        self._warm_start_params = warm_start_params

    def init(self, key: jax.Array) -> Params:
        return init_unet(key, self._model.image.unet, self._model.text_encoder.hidden_size)

    def warm_start(self, params: Params) -> Params:
        return begin_from(params, self._warm_start_params, trees.merge)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        config, model = self._config, self._model
        image, dropout = model.image, config.text_dropout
        drop_keys, loss_keys, latent_keys = (noise.fold_in(keys_B, i) for i in range(3))
        states = batch_text(model, frozen, batch, self._null_tokens_T, dropout, drop_keys)
        text = states.states_BTD
        drawn = latent_keys if config.posterior_noise else None
        x0 = clip_latents(model, frozen, batch, image.resolution, drawn)[:, :1]

        def predict(x_t: jax.Array, timesteps_B: jax.Array) -> jax.Array:
            output: Any = self._unet.apply({"params": params}, x_t, timesteps_B, text)
            return output

        return denoising_loss(image.schedule, predict, x0, loss_keys, config.min_snr_gamma)

    def components(self, params: Params) -> dict[str, Params]:
        return {"image_unet": params}
