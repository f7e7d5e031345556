"""Training the refiner of temporal super-resolution (§3.3, §3.5), after the flow.

It trains on clips of high frame rate, in which the frames to be interpolated are known.

Letters: B clips, F frames, N frames of the low-fps clip, H height, W width, Z latent channels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.errors import UserError
from videogen_jax.models.parameters import init_unet
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.warm_start import warm_start_unet
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.conditioning import network_input
from videogen_jax.pipeline.decode import decode_frames, quantise
from videogen_jax.pipeline.encode import encode_uint8_clips
from videogen_jax.pipeline.rounds import rounds_of
from videogen_jax.pipeline.temporal_sr import (
    Interpolation,
    TemporalSR,
    flow_midpoints,
    slerp_midpoints,
)
from videogen_jax.training.frozen import clip_latents, encode_text, null_text
from videogen_jax.training.losses.diffusion import FRACTIONS, denoising_loss
from videogen_jax.training.previews import Drawing
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
ROUNDS = 3  # of temporal super-resolution (§3.3), whose frame rates the refiner trains on
_LATENTS = 2  # what a sample draws from its key, after `denoising_loss`
# The range of rates is wider than those of the rounds: clips of 24 and 30 fps have 12 and 15 fps in
# place of 16, clips of 60 fps 60 in place of 64.
_SLOWEST, _FASTEST = 0.75, 1.25


def refiner_data(model: ModelConfig) -> DataConfig:
    """Returns the windows that the refiner of `model` trains on: those that sampling refines.

    They have 2N − 1 frames for the N of the model. Each window draws its rate from a range that
    contains the rates of the first `ROUNDS` rounds.
    """
    windows = rounds_of(model.num_frames, model.fps, ROUNDS)
    fps = (_SLOWEST * min(windows.rates), _FASTEST * max(windows.rates))
    return DataConfig(num_frames=windows.num_frames, resolution=model.refiner.resolution, fps=fps)


@dataclasses.dataclass(frozen=True)
class RefinerTaskConfig(TaskConfig):
    """Warm start, interpolation and loss weighting of the refiner task."""

    command = "temporal_sr"
    takes_buckets = True

    warm_start: str = "stage_3"  # the component to start from, the last stage; "" for none
    interpolation: Interpolation = "flow"  # "slerp" is the ablation of Fig. 6
    min_snr_gamma: float | None = None
    posterior_noise: bool = True  # latents are draws of the autoencoder's posterior, not its mean

    def component(self) -> str:
        return "refiner"

    def build(self, context: TaskContext) -> "RefinerTask":
        return RefinerTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        flow = ("flow",) if self.interpolation == "flow" else ()
        return "text_encoder", "autoencoder", *flow

    def cached_latents(self, model: ModelConfig) -> CachedLatents:
        # It is conditioned on the empty prompt only.
        return CachedLatents((model.refiner.resolution,), self.posterior_noise, captions=False)


class RefinerTask(Task):
    """The `SpaceTimeUNet` that refines warped latents, trained on clips of high frame rate.

    A batch has `video`, uint8 `[B, 2N − 1, H, W, 3]`, or its cached latents, and `fps` `[B]`, the
    rate of these 2N − 1 frames (see `refiner_data`). The even frames are the low-fps clip. The odd
    frames are denoised as one clip of N − 1 frames, conditioned on their warped latents, in place
    of a stage's low-res latents, and on the empty prompt. The channels of the reference are zero.
    """

    def __init__(self, config: RefinerTaskConfig, context: TaskContext):
        model, compute, frames = context.model, context.compute, context.data.num_frames
        if frames < 3 or frames % 2 == 0:
            raise UserError(
                f"data.num_frames is {frames}, expected an odd number from 3, the frames of a clip "
                f"and one between each two: {refiner_data(model).num_frames} for this model"
            )
        self._config, self._model, self._data = config, model, context.data
        self._unet = SpaceTimeUNet(model.refiner.unet, compute.dtype, compute.remat)
        self._temporal_sr = TemporalSR(model)
        pixels = frames * model.refiner.resolution**2
        self.drawing = Drawing(context, SAMPLE_CLIPS, pixels, self._rows)
        self.frozen, self.pixel_networks = context.frozen, context.replaced
        self._null_tokens_T = jnp.asarray(context.tokenize([""])[0])
        self._warm_start_params = context.warm_start(config.warm_start)

    def init(self, key: jax.Array) -> Params:
        return init_unet(key, self._model.refiner.unet, self._model.text_encoder.hidden_size)

    def warm_start(self, params: Params) -> Params:
        return begin_from(params, self._warm_start_params, warm_start_unet)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        model, refiner = self._model, self._model.refiner
        drawn = noise.fold_in(keys_B, _LATENTS) if self._config.posterior_noise else None
        latents = clip_latents(model, frozen, batch, refiner.resolution, drawn, self._data)
        x0 = latents[:, 1::2]
        warped = missing_frames(model, frozen, latents[:, ::2], self._config.interpolation)
        null = null_text(model, frozen, self._null_tokens_T)
        clips = x0.shape[0]

        def predict(x_t: jax.Array, timesteps_B: jax.Array) -> jax.Array:
            output: Any = self._unet.apply(
                {"params": params},
                network_input(x_t, jnp.zeros_like(x_t), warped),
                timesteps_B,
                null.states_BTD.repeat(clips, axis=0),
                pooled_BD=null.pooled_BD.repeat(clips, axis=0),
                fps_B=batch["fps"],
                low_res_noise_B=jnp.zeros(clips),
            )
            return output

        gamma = self._config.min_snr_gamma
        fractions_B = batch.get(FRACTIONS)
        loss, metrics = denoising_loss(refiner.schedule, predict, x0, keys_B, gamma, fractions_B)
        # The mean squared distance of the refiner's condition from its target.
        return loss, {**metrics, "warp_error": jnp.square(warped - x0).mean()}

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Returns rows of 2N − 1 frames: even ones true, odd ones interpolated and refined."""
        model, clips = self._model, batch["video"].shape[0]
        components = {**components, "refiner": params}
        resolution = model.refiner.resolution
        latents = encode_uint8_clips(model, components, batch["video"], resolution)
        empty_BT = jnp.broadcast_to(self._null_tokens_T, (clips, *self._null_tokens_T.shape))
        shown = self._temporal_sr(
            components,
            latents[:, ::2],
            batch["fps"] / 2,
            encode_text(model, components, empty_BT),
            keys_B,
            rounds=1,
            interpolation=self._config.interpolation,
        )
        pixels = decode_frames(model.autoencoder, components["autoencoder"], shown)
        return quantise(pixels)[:, None]

    def components(self, params: Params) -> dict[str, Params]:
        return {"refiner": params}


def missing_frames(
    model: ModelConfig, frozen: Params, latents_BNHWZ: jax.Array, interpolation: Interpolation
) -> jax.Array:
    """Returns the interpolated frames that condition the refiner, `[B, N − 1, H, W, Z]`.

    They have no gradient, because the flow is already trained.
    """
    if interpolation == "slerp":
        return slerp_midpoints({}, latents_BNHWZ)
    return jax.lax.stop_gradient(flow_midpoints(model.flow, frozen["flow"], latents_BNHWZ))
