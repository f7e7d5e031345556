"""Training a stage of the reference-guided cascade (§3.2, §3.5).

Letters: B clips, F frames, H height, W width, Z latent channels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.process import noise_tables
from videogen_jax.errors import UserError
from videogen_jax.models.parameters import init_unet
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.warm_start import warm_start_unet
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade
from videogen_jax.pipeline.conditioning import augment, network_input, reference_video, upsample
from videogen_jax.pipeline.decode import decode_frames, quantise
from videogen_jax.pipeline.encode import encode_uint8_clips
from videogen_jax.training.frozen import batch_text, clip_latents
from videogen_jax.training.losses.diffusion import FRACTIONS, chance, denoising_loss, integers
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

SAMPLE_CLIPS = 8


@dataclasses.dataclass(frozen=True)
class CascadeTaskConfig(TaskConfig):
    """Stage, warm start, condition dropout and loss weights of a cascade stage's task."""

    command = "cascade"
    takes_buckets = True

    stage: int = 1  # counted from 1
    warm_start: str = "image_unet"  # the component to start from; "" for none
    text_dropout: float = 0.1
    reference_dropout: float = 0.0  # 1 trains without reference, the ablation of Table 3
    low_res_noise: int = 0  # noise augmentation of the low-res latent up to this timestep
    min_snr_gamma: float | None = None
    posterior_noise: bool = True  # latents are draws of the autoencoder's posterior, not its mean
    image_weight: float = 0.0  # joint training (Ho et al. 2022): weight of the single-frame loss

    def __post_init__(self):
        if self.image_weight < 0:
            raise UserError(f"task.image_weight is {self.image_weight}, expected 0 or more")

    def component(self) -> str:
        return f"stage_{self.stage}"

    def build(self, context: TaskContext) -> "CascadeTask":
        return CascadeTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return "text_encoder", "autoencoder"

    def cached_latents(self, model: ModelConfig) -> CachedLatents:
        stages = model.stages[max(0, self.stage - 2) : self.stage]  # its own and the one below
        resolutions = tuple(stage.resolution for stage in stages)
        return CachedLatents(resolutions, self.posterior_noise, captions=True)

    def split_frames(self, num_frames: int) -> int:
        return num_frames


class CascadeTask(Task):
    """One stage's `SpaceTimeUNet`, trained on clips with captions and fps."""

    def __init__(self, config: CascadeTaskConfig, context: TaskContext):
        model, compute = context.model, context.compute
        if not 1 <= config.stage <= len(model.stages):
            raise UserError(
                f"task.stage is {config.stage}, expected 1 .. {len(model.stages)}, the stages of "
                f"the model {model.name!r}"
            )
        self._config, self._model, self._data = config, model, context.data
        self._stage: DenoiserConfig = model.stages[config.stage - 1]
        self._unet = SpaceTimeUNet(self._stage.unet, compute.dtype, compute.remat)
        self._cascade = Cascade(model)
        pixels = context.data.num_frames * self._stage.resolution**2
        self.drawing = Drawing(context, SAMPLE_CLIPS, pixels, self._rows)
        self.frozen, self.pixel_networks = context.frozen, context.replaced
        self._null_tokens_T = jnp.asarray(context.tokenize([""])[0])
        self._warm_start_params = context.warm_start(config.warm_start)

    def init(self, key: jax.Array) -> Params:
        return init_unet(key, self._stage.unet, self._model.text_encoder.hidden_size)

    def warm_start(self, params: Params) -> Params:
        return begin_from(params, self._warm_start_params, warm_start_unet)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        config, stage, model = self._config, self._stage, self._model
        text_keys, reference_keys, low_res_keys, loss_keys, image_keys, latent_keys = (
            noise.fold_in(keys_B, i) for i in range(6)
        )
        dropout = config.text_dropout
        text = batch_text(model, frozen, batch, self._null_tokens_T, dropout, text_keys)
        drawn = latent_keys if config.posterior_noise else None
        x0 = clip_latents(model, frozen, batch, stage.resolution, drawn, self._data)
        kept_B = chance(reference_keys, 1.0 - config.reference_dropout).astype(x0.dtype)
        # The first frame is the reference (§3.5).
        reference = reference_video(x0[:, 0] * kept_B[:, None, None, None], x0.shape[1])
        low_res, levels_B = self._low_res(frozen, batch, low_res_keys)

        def denoise(x0: jax.Array, reference: jax.Array, low_res: Any, keys_B: jax.Array) -> Any:
            def predict(x_t: jax.Array, timesteps_B: jax.Array) -> jax.Array:
                output: Any = self._unet.apply(
                    {"params": params},
                    network_input(x_t, reference, low_res),
                    timesteps_B,
                    text.states_BTD,
                    pooled_BD=text.pooled_BD,
                    fps_B=batch["fps"],
                    low_res_noise_B=levels_B,
                )
                return output

            gamma, fractions_B = config.min_snr_gamma, batch.get(FRACTIONS)
            return denoising_loss(stage.schedule, predict, x0, keys_B, gamma, fractions_B)

        loss, metrics = denoise(x0, reference, low_res, loss_keys)
        if not config.image_weight:
            return loss, metrics
        # The first frame is also an image, a clip of one frame. It has no reference, which would be
        # the image itself.
        image, low_res = x0[:, :1], None if low_res is None else low_res[:, :1]
        image_loss, _ = denoise(image, jnp.zeros_like(image), low_res, image_keys)
        return loss + config.image_weight * image_loss, {**metrics, "image_loss": image_loss}

    def _low_res(
        self, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array | None, jax.Array | None]:
        """Returns the clip of the stage below, upsampled and noised, and its noise level.

        Both are None for stage 1.
        """
        if self._config.stage == 1:
            return None, None
        below = self._model.stages[self._config.stage - 2]
        drawn = noise.fold_in(keys_B, 2) if self._config.posterior_noise else None
        latents = upsample(
            clip_latents(self._model, frozen, batch, below.resolution, drawn, self._data)
        )
        levels_B = integers(noise.fold_in(keys_B, 0), self._config.low_res_noise + 1)
        eps = noise.normal(noise.fold_in(keys_B, 1), latents.shape[1:])
        return augment(noise_tables(self._stage.schedule), latents, levels_B, eps), levels_B

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Samples a row of frames per validation clip, from its true reference and low-res clip."""
        model, stage, video_BFHWC = self._model, self._config.stage, batch["video"]
        components = {**components, self._config.component(): params}
        low_res = None
        if stage > 1:
            below = model.stages[stage - 2].resolution
            low_res = encode_uint8_clips(model, components, video_BFHWC, below)
        latents = self._cascade.sample_stage(
            components,
            stage,
            prompt_states(self._cascade, components, batch["tokens"], self._null_tokens_T),
            video_BFHWC[:, 0],
            low_res,
            batch["fps"],
            keys_B,
            video_BFHWC.shape[1],
        )
        pixels = decode_frames(model.autoencoder, components["autoencoder"], latents)
        return quantise(pixels)[:, None]

    def components(self, params: Params) -> dict[str, Params]:
        return {self._config.component(): params}
