"""Training flow-based temporal super-resolution (§3.3, §3.5): first the flow, then the refiner.

Both learn from clips of high frame rate, where the frames to be interpolated are known.

Letters: B clips, F frames, N frames of the low-fps clip, H height, W width, Z latent channels,
C pixel channels, T tokens; `2` is a flow's (x, y).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import resize, to_float, to_uint8
from videogen_jax.models.autoencoder import Autoencoder, unscale_latents
from videogen_jax.models.flow import FlowOutput, LatentFlow
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.parameters import init_flow, init_unet
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.warm_start import warm_start_unet
from videogen_jax.models.warp import resize_flow
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.conditioning import network_input
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.pipeline.temporal_sr import Interpolation, slerp_midpoints
from videogen_jax.training.frozen import clip_latents, null_text
from videogen_jax.training.losses.diffusion import denoising_loss
from videogen_jax.training.losses.flow import FlowLossConfig, charbonnier_loss, flow_loss
from videogen_jax.training.task import (
    Batch,
    ComputeConfig,
    DrawSamples,
    Metrics,
    Params,
    Samples,
    begin_from,
    without_remat,
)

_HALF_WAY = 0.5
_LATENTS = 2  # what a sample draws from its key, after `denoising_loss`


@dataclasses.dataclass(frozen=True)
class FlowTaskConfig:
    """What the flow's loss weighs."""

    loss: FlowLossConfig = FlowLossConfig()


class FlowTask:
    """`LatentFlow` from triplets of frames with their true flows, as `ShapesHighFps` gives them.

    A batch has `a`, `mid` and `b`, uint8 `[B, H, W, 3]`, with mid half-way in time, and `flow_a`
    and `flow_b`, float32 `[B, H, W, 2]`, from mid to a and to b in pixels. The paper takes the
    flows from a pixel-space IFRNet; either kind is resized and rescaled to the latents (§3.5),
    which are those of the refiner's resolution.

    Args:
        config: weights of the losses.
        model: the whole model's configuration.
        frozen: parameters of `autoencoder`.
        examples: a batch to make samples of.
        compute: how the network computes.
    """

    def __init__(
        self,
        config: FlowTaskConfig,
        model: ModelConfig,
        frozen: Params,
        examples: Mapping[str, np.ndarray],
        compute: ComputeConfig = ComputeConfig(),
    ):
        self._config, self._model = config, model
        self._network = LatentFlow(model.flow, without_remat(compute, "flow network").dtype)
        self.frozen = frozen
        self._examples = examples
        self._draw = jax.jit(self._pictures)

    def init(self, key: jax.Array) -> Params:
        return init_flow(key, self._model.flow)

    def warm_start(self, params: Params) -> Params:
        return params

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        a, mid, b = self._latents(frozen, batch)
        output = self._apply(params, a, b)
        features: Any = self._network.apply({"params": params}, a, b, mid, method="target_features")
        flow_a, flow_b = (resize_flow(batch[name], mid.shape[1:3]) for name in ("flow_a", "flow_b"))
        loss, metrics = flow_loss(output, mid, features, flow_a, flow_b, self._config.loss)
        # What one gets without any flow: the number to beat by `charbonnier`.
        return loss, {**metrics, "charbonnier_of_average": charbonnier_loss((a + b) / 2 - mid)}

    def _latents(self, frozen: Params, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Scaled latents of a, mid and b, each `[B, H, W, Z]`."""
        frames = to_float(jnp.stack([batch["a"], batch["mid"], batch["b"]], axis=1))
        latents = encode_frames(self._model, frozen, frames, self._model.refiner.resolution)
        return latents[:, 0], latents[:, 1], latents[:, 2]

    def _apply(self, params: Params, a_BHWZ: jax.Array, b_BHWZ: jax.Array) -> FlowOutput:
        return _frame_half_way(self._network, params, a_BHWZ, b_BHWZ)

    def samples(self, params: Params, seed: int) -> Samples:
        """Rows: a, the frame found between, the true one, b; all but the true one decoded."""
        return Samples(to_uint8(self._draw(params, self.frozen, self._examples)))

    def _pictures(self, params: Params, frozen: Params, batch: Batch) -> jax.Array:
        """`[4, B, H, W, C]`."""
        a, _, b = self._latents(frozen, batch)
        latents = jnp.stack([a, self._apply(params, a, b).merged_BHWC, b])
        network = Autoencoder(self._model.autoencoder)
        raw = unscale_latents(self._model.autoencoder, fold_frames(latents))
        pixels: Any = network.apply({"params": frozen["autoencoder"]}, raw, method="decode")
        decoded_a, found, decoded_b = unfold_frames(pixels, a.shape[0])
        truth = resize(to_float(batch["mid"]), found.shape[1])
        return jnp.stack([decoded_a, found, truth, decoded_b])

    def components(self, params: Params) -> dict[str, Params]:
        return {"flow": params}


@dataclasses.dataclass(frozen=True)
class RefinerTaskConfig:
    """What the refiner starts from and how its loss weighs timesteps."""

    warm_start: str = "stage_3"  # the component to start from, the last stage; "" for none
    interpolation: Interpolation = "flow"  # "slerp" is the ablation of Fig. 6
    min_snr_gamma: float | None = None
    posterior_noise: bool = True  # latents are draws of the autoencoder's posterior, not its mean


class RefinerTask:
    """The `SpaceTimeUNet` that refines warped latents, from clips of high frame rate.

    A batch has `video`, uint8 `[B, 2N − 1, H, W, 3]`, or its cached latents, and `fps` `[B]`, that
    of these 2N − 1 frames; `ShapesClips` with `num_frames=2 * N - 1` gives them. The even frames
    are the low-fps clip; the odd ones are to be denoised, as one clip of N − 1 frames, given their
    warped latents in the place of a stage's low-res latents and the empty prompt. There is no
    reference: its channels are zero.

    Args as for `CascadeTask`, but `frozen` has `flow` beside `text_encoder` and `autoencoder`, if
    the configured interpolation is by flow.
    """

    def __init__(
        self,
        config: RefinerTaskConfig,
        model: ModelConfig,
        frozen: Params,
        null_tokens_T: np.ndarray,
        samples: DrawSamples,
        warm_start_params: Params | None,
        compute: ComputeConfig = ComputeConfig(),
    ):
        self._config, self._model = config, model
        self._unet = SpaceTimeUNet(model.refiner.unet, compute.dtype, compute.remat)
        self.frozen = frozen
        self._null_tokens_T = null_tokens_T
        self.samples = samples
        self._warm_start_params = warm_start_params

    def init(self, key: jax.Array) -> Params:
        return init_unet(key, self._model.refiner.unet, self._model.text_encoder.hidden_size)

    def warm_start(self, params: Params) -> Params:
        return begin_from(params, self._warm_start_params, warm_start_unet)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        model, refiner = self._model, self._model.refiner
        drawn = noise.fold_in(keys_B, _LATENTS) if self._config.posterior_noise else None
        latents = clip_latents(model, frozen, batch, refiner.resolution, drawn)
        x0 = latents[:, 1::2]
        warped = missing_frames(model, frozen, latents[:, ::2], self._config.interpolation)
        null = null_text(model, frozen, jnp.asarray(self._null_tokens_T))
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
        loss, metrics = denoising_loss(refiner.schedule, predict, x0, keys_B, gamma)
        # How far the refiner's condition is from its target, in the latents' units.
        return loss, {**metrics, "warp_error": jnp.square(warped - x0).mean()}

    def components(self, params: Params) -> dict[str, Params]:
        return {"refiner": params}


def missing_frames(
    model: ModelConfig, frozen: Params, latents_BNHWZ: jax.Array, interpolation: Interpolation
) -> jax.Array:
    """What the refiner is given between neighbouring frames, `[B, N − 1, H, W, Z]`."""
    if interpolation == "slerp":
        return slerp_midpoints({}, latents_BNHWZ)
    return interpolate(model, frozen["flow"], latents_BNHWZ)


def interpolate(model: ModelConfig, flow_params: Params, latents_BNHWZ: jax.Array) -> jax.Array:
    """The warped latents half-way between neighbouring frames, `[B, N − 1, H, W, Z]`.

    Without gradient: the flow is trained before.
    """
    a, b = fold_frames(latents_BNHWZ[:, :-1]), fold_frames(latents_BNHWZ[:, 1:])
    merged = _frame_half_way(LatentFlow(model.flow), flow_params, a, b).merged_BHWC
    return jax.lax.stop_gradient(unfold_frames(merged, latents_BNHWZ.shape[1] - 1))


def _frame_half_way(
    network: LatentFlow, params: Params, a_BHWZ: jax.Array, b_BHWZ: jax.Array
) -> FlowOutput:
    time_B = jnp.full(a_BHWZ.shape[0], _HALF_WAY)
    output: Any = network.apply({"params": params}, a_BHWZ, b_BHWZ, time_B)
    return output
