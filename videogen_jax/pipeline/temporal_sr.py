"""Flow-based temporal super-resolution (§3.3): N frames to 2N − 1, any number of times.

The latent flow network estimates the motion between two frames and warps the frame in the middle.
A denoiser, the refiner, then refines the clip of these middle frames. The result combines the low
frequencies of the warped frames with the high frequencies of the refined ones. Original frames are
kept unchanged.

Letters: B samples, F frames, M = F − 1 missing frames between them, H height, W width, Z latent
channels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jax.typing import DTypeLike

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.models.flow import FlowConfig, LatentFlow
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.denoise import Denoiser, Tick, Watch
from videogen_jax.pipeline.frequency import merge_frequencies, slerp
from videogen_jax.pipeline.network import Conditions, Params
from videogen_jax.pipeline.rounds import rounds_of

Interpolation = Literal["flow", "slerp"]


class TemporalSR:
    """The latent flow network and the refiner of `config`, compiled once for a clip's length.

    The refiner has the network of a stage. It is conditioned on the warped frames, in place of a
    stage's low-res frames, and on the doubled fps. It uses the empty prompt, without a reference or
    guidance.
    """

    def __init__(self, config: ModelConfig, dtype: DTypeLike = jnp.float32):
        refiner = config.refiner
        self._config = config
        self._dtype = dtype
        self._refiner = Denoiser(refiner, config.latent_size(refiner.resolution), dtype)
        self._interpolate = {
            "flow": jax.jit(self._flow_midpoints),
            "slerp": jax.jit(slerp_midpoints),
        }
        self._condition = jax.jit(self._conditions)
        self._merge = jax.jit(self._merge_frequencies)
        self._interleave = jax.jit(interleave)

    def __call__(
        self,
        params: Mapping[str, Params],
        latents_BFHWZ: jax.Array,
        fps_B: jax.Array,
        empty_text: TextStates | None,
        keys_B: jax.Array,
        rounds: int,
        *,
        interpolation: Interpolation = "flow",
        refine: bool = True,
        strength: float = 1.0,
        steps: int | None = None,
        sampler: SamplerConfig | None = None,
        tick: Tick | None = None,
        watch: Watch | None = None,
    ) -> jax.Array:
        """Doubles the frame rate `rounds` times.

        From the second round on, the clip is processed in pieces as long as the input clip, which
        share their end frames. So the refiner sees the windows that it trains on (`rounds_of`),
        nothing compiles again, and memory does not grow.

        Args:
            params: `{component: parameters}` with `flow` (for `interpolation="flow"`) and `refiner`
                (for `refine=True`).
            latents_BFHWZ: latents of the model space, F ≥ 2, of any height and width that the
                refiner's levels divide.
            fps_B: frames per second of that clip, float32.
            empty_text: the encoded empty prompt; only needed for `refine=True`.
            keys_B: keys from which all noise is drawn.
            rounds: number of rounds, N → 2N − 1 frames each; 0 returns the clip unchanged.
            interpolation: how middle frames are found; "slerp" is the ablation of Fig. 6.
            refine: whether the refiner runs; without it the result is the interpolation alone.
            strength: share of the refiner's steps that are taken, in (0, 1]. Below 1, the refiner
                starts from the interpolated frames with noise instead of from noise alone.
            steps: steps of the refiner, by default its sampler's.
            sampler: sampler of the refiner, by default its config's.
            tick, watch: called after each step of the refiner, which runs 2^rounds − 1 times, as
                for `Denoiser.sample`.

        Returns:
            float32 `[B, (F − 1)·2^rounds + 1, H, W, Z]`.

        Raises:
            UserError: F < 2, or the sampler cannot take that many steps.
        """
        windows = rounds_of(latents_BFHWZ.shape[1], 1.0, rounds)
        missing = windows.num_frames // 2
        sample = functools.partial(
            self._refiner.sample, steps=steps, sampler=sampler, tick=tick, watch=watch
        )
        refined = functools.partial(self._refined, sample, strength) if refine else None
        flow = params["flow"] if interpolation == "flow" else None
        interpolate = functools.partial(self._interpolate[interpolation], flow)
        double = functools.partial(self._double, params, fps_B, empty_text, interpolate, refined)
        for index, fps_factor in enumerate(windows.rates):
            round_keys_B = noise.fold_in(keys_B, index)
            pieces = [
                double(
                    latents_BFHWZ[:, start : start + missing + 1],
                    fps_factor,
                    noise.fold_in(round_keys_B, piece),
                )
                for piece, start in enumerate(range(0, latents_BFHWZ.shape[1] - 1, missing))
            ]
            rest = [piece_BFHWZ[:, 1:] for piece_BFHWZ in pieces[1:]]
            latents_BFHWZ = jnp.concatenate([pieces[0], *rest], axis=1)
        return latents_BFHWZ

    def _double(
        self,
        params: Mapping[str, Params],
        fps_B: jax.Array,
        empty_text: TextStates | None,
        interpolate: Callable[..., jax.Array],
        refined: Callable[..., jax.Array] | None,
        clip_BFHWZ: jax.Array,
        fps_factor: float,
        keys_B: jax.Array,
    ) -> jax.Array:
        """Doubles the frame rate of one piece in one round."""
        middle_BMHWZ = interpolate(clip_BFHWZ)
        if refined is not None:
            given = self._condition(middle_BMHWZ, fps_B, fps_factor, empty_text)
            middle_BMHWZ = refined(params["refiner"], given, keys_B, middle_BMHWZ)
        return self._interleave(clip_BFHWZ, middle_BMHWZ)

    def _refined(
        self,
        sample: Callable[..., jax.Array],
        strength: float,
        params: Params,
        given: Conditions,
        keys_B: jax.Array,
        warped_BMHWZ: jax.Array,
    ) -> jax.Array:
        """Returns the low frequencies of the warped frames with the refiner's high ones."""
        start = {"clean_BFHWZ": warped_BMHWZ, "strength": strength} if strength < 1 else {}
        refined_BMHWZ = sample(params, given, keys_B, warped_BMHWZ.shape[1], **start)
        return self._merge(warped_BMHWZ, refined_BMHWZ)

    def _flow_midpoints(self, params: Params, clip_BFHWZ: jax.Array) -> jax.Array:
        return flow_midpoints(self._config.flow, params, clip_BFHWZ, self._dtype)

    def _conditions(
        self,
        middle_BMHWZ: jax.Array,
        fps_B: jax.Array,
        fps_factor: float,
        empty_text: TextStates,
    ) -> Conditions:
        return Conditions(
            text=empty_text,
            reference_BFHWZ=jnp.zeros_like(middle_BMHWZ),
            low_res_BFHWZ=middle_BMHWZ,
            fps_B=fps_B * fps_factor,
            low_res_noise_B=jnp.zeros(fps_B.shape, jnp.int32),
        )

    def _merge_frequencies(self, warped_BMHWZ: jax.Array, refined_BMHWZ: jax.Array) -> jax.Array:
        merged_NHWZ = merge_frequencies(
            fold_frames(warped_BMHWZ), fold_frames(refined_BMHWZ), self._config.lowpass_factor
        )
        return unfold_frames(merged_NHWZ, warped_BMHWZ.shape[1])


def flow_midpoints(
    config: FlowConfig,
    params: Params,
    clip_BFHWZ: jax.Array,
    dtype: DTypeLike = jnp.float32,
    time_B: jax.Array | float = 0.5,
) -> jax.Array:
    """Interpolates between neighbouring frames by the flow, `[B, F − 1, H, W, Z]`.

    `time_B` is the time of the new frames between their neighbours, from 0 to 1.
    """
    network: Any = LatentFlow(config, dtype)  # Any: flax types the result of `apply` as a union
    a_NHWZ, b_NHWZ = fold_frames(clip_BFHWZ[:, :-1]), fold_frames(clip_BFHWZ[:, 1:])
    batch, missing = clip_BFHWZ.shape[0], clip_BFHWZ.shape[1] - 1
    time_BM = jnp.broadcast_to(jnp.asarray(time_B, jnp.float32).reshape(-1, 1), (batch, missing))
    time_N = fold_frames(time_BM)
    output = network.apply({"params": params}, a_NHWZ, b_NHWZ, time_N)
    return unfold_frames(output.merged_BHWC, missing)


def slerp_midpoints(params: Params, clip_BFHWZ: jax.Array) -> jax.Array:
    """Interpolates without motion, the ablation of Fig. 6; `params` are not used."""
    a_NHWZ, b_NHWZ = fold_frames(clip_BFHWZ[:, :-1]), fold_frames(clip_BFHWZ[:, 1:])
    middle_NHWZ = slerp(a_NHWZ, b_NHWZ, jnp.asarray(0.5))
    return unfold_frames(middle_NHWZ, clip_BFHWZ.shape[1] - 1)


def interleave(frames_BFHWZ: jax.Array, middle_BMHWZ: jax.Array) -> jax.Array:
    """Puts new frames between the original ones, which stay bit for bit: `[B, F + M, H, W, Z]`."""
    pairs = jnp.stack([frames_BFHWZ[:, :-1], middle_BMHWZ], axis=2)
    alternating_BFHWZ = rearrange(pairs, "b m two h w z -> b (m two) h w z")
    return jnp.concatenate([alternating_BFHWZ, frames_BFHWZ[:, -1:]], axis=1)
