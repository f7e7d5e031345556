"""Training the text-to-image model (§3.1) on latents of single frames and their captions.

The paper uses Stable Diffusion's model. A small model that ships trains its own on the first frames
of clips.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.models.parameters import init_unet
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade
from videogen_jax.training.frozen import batch_text, clip_latents
from videogen_jax.training.losses.diffusion import FRACTIONS, denoising_loss
from videogen_jax.training.previews import Drawing, prompt_states
from videogen_jax.training.task import (
    Batch,
    CachedLatents,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    begin_from,
)

SAMPLE_PROMPTS = 8


@dataclasses.dataclass(frozen=True)
class TextToImageTaskConfig(TaskConfig):
    """Warm start, text dropout and loss weighting of the text-to-image task."""

    command = "text_to_image"
    takes_buckets = True

    warm_start: str = ""  # the component to start from, such as image_unet; "" for none
    text_dropout: float = 0.1
    min_snr_gamma: float | None = None
    posterior_noise: bool = True  # latents are draws of the autoencoder's posterior, not its mean

    def component(self) -> str:
        return "image_unet"

    def build(self, context: TaskContext) -> "TextToImageTask":
        return TextToImageTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return "text_encoder", "autoencoder"

    def cached_latents(self, model: ModelConfig) -> CachedLatents:
        return CachedLatents((model.image.resolution,), self.posterior_noise, captions=True)


class TextToImageTask(Task):
    """The image UNet, trained on the first frame of each clip of the batch."""

    def __init__(self, config: TextToImageTaskConfig, context: TaskContext):
        model, compute = context.model, context.compute
        self._config, self._model, self._data = config, model, context.data
        self._unet = SpaceTimeUNet(model.image.unet, compute.dtype, compute.remat)
        self._cascade = Cascade(model)
        self.drawing = Drawing(context, SAMPLE_PROMPTS, model.image.resolution**2, self._rows)
        self.frozen, self.pixel_networks = context.frozen, context.replaced
        self._null_tokens_T = jnp.asarray(context.tokenize([""])[0])
        self._warm_start_params = context.warm_start(config.warm_start)

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
        x0 = clip_latents(model, frozen, batch, image.resolution, drawn, self._data)[:, :1]

        def predict(x_t: jax.Array, timesteps_B: jax.Array) -> jax.Array:
            output: Any = self._unet.apply({"params": params}, x_t, timesteps_B, text)
            return output

        fractions_B = batch.get(FRACTIONS)
        return denoising_loss(
            image.schedule, predict, x0, loss_keys, config.min_snr_gamma, fractions_B
        )

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Samples a row of images of validation captions with the pipeline."""
        components = {**components, "image_unet": params}
        null_tokens_T = self._null_tokens_T
        prompts = prompt_states(self._cascade, components, batch["tokens"], null_tokens_T)
        return self._cascade.sample_image(components, prompts, keys_B)[:, None]

    def components(self, params: Params) -> dict[str, Params]:
        return {"image_unet": params}
