"""Flow-based temporal super-resolution (§3.3): N frames to 2N − 1, as often as asked.

Between two frames the latent flow network finds the motion and warps the frame in the middle; a
denoiser refines the clip of these; low frequencies stay the warped frame's, high frequencies become
the refined one's. Original frames are kept as they are.

Letters: B samples, F frames, M = F − 1 missing frames between them, H height, W width, Z latent
channels.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jax.typing import DTypeLike

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.samplers import SamplerConfig
from videogen_jax.errors import UserError
from videogen_jax.models.flow import FlowConfig, LatentFlow
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.denoise import Conditions, Denoiser, Params, Tick
from videogen_jax.pipeline.frequency import merge_frequencies, slerp

Interpolation = Literal["flow", "slerp"]


class TemporalSR:
    """The latent flow network and the refiner of `config`, compiled once for a clip's length.

    The refiner is a stage's network that is told nothing but the warped frames, where a stage is
    told the low-res ones (no reference, the empty prompt, no guidance), and the doubled fps.
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
        empty_text: TextStates,
        keys_B: jax.Array,
        rounds: int,
        *,
        interpolation: Interpolation = "flow",
        refine: bool = True,
        steps: int | None = None,
        sampler: SamplerConfig | None = None,
        tick: Tick | None = None,
    ) -> jax.Array:
        """Doubles the frame rate `rounds` times.

        From the second round on the clip is taken in pieces as long as the clip given, which share
        their end frames: the refiner sees no longer clips than it was trained on, nothing is
        compiled again, and memory does not grow.

        Args:
            params: with the components `flow` (for `interpolation="flow"`) and `refiner` (to
                refine).
            latents_BFHWZ: of the model space, F ≥ 2.
            fps_B: of that clip, float32.
            empty_text: the encoded empty prompt.
            keys_B: from which all noise is drawn.
            rounds: N → 2N − 1 frames each; 0 leaves the clip as it is.
            interpolation: "slerp" is the ablation of Fig. 6.
            refine: without it the result is the interpolation alone.
            steps: of the refiner, its sampler's by default.
            sampler: of the refiner, its config's by default.
            tick: called after each step of the refiner; there are 2^rounds − 1 times `steps`.

        Returns:
            float32 `[B, (F − 1)·2^rounds + 1, H, W, Z]`.

        Raises:
            UserError: F < 2, or the sampler cannot take that many steps.
        """
        missing = latents_BFHWZ.shape[1] - 1
        if missing < 1:
            raise UserError("temporal super-resolution needs a clip of 2 frames at least, got 1")
        double = functools.partial(
            self._double, params, fps_B, empty_text, interpolation, refine, steps, sampler, tick
        )
        for index in range(rounds):
            round_keys_B = noise.fold_in(keys_B, index)
            pieces = [
                double(
                    latents_BFHWZ[:, start : start + missing + 1],
                    2.0 ** (index + 1),
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
        empty_text: TextStates,
        interpolation: Interpolation,
        refine: bool,
        steps: int | None,
        sampler: SamplerConfig | None,
        tick: Tick | None,
        clip_BFHWZ: jax.Array,
        fps_factor: float,
        keys_B: jax.Array,
    ) -> jax.Array:
        """One piece of one round."""
        middle_BMHWZ = self._interpolate[interpolation](params.get("flow"), clip_BFHWZ)
        if refine:
            refined_BMHWZ = self._refiner.sample(
                params["refiner"],
                self._condition(middle_BMHWZ, fps_B, fps_factor, empty_text),
                keys_B,
                middle_BMHWZ.shape[1],
                steps=steps,
                sampler=sampler,
                tick=tick,
            )
            middle_BMHWZ = self._merge(middle_BMHWZ, refined_BMHWZ)
        return self._interleave(clip_BFHWZ, middle_BMHWZ)

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
    config: FlowConfig, params: Params, clip_BFHWZ: jax.Array, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """The latents half-way between neighbouring frames by the flow network, `[B, F − 1, H, W, Z]`."""
    network: Any = LatentFlow(config, dtype)  # Any: flax types what `apply` gives as a union
    a_NHWZ, b_NHWZ = fold_frames(clip_BFHWZ[:, :-1]), fold_frames(clip_BFHWZ[:, 1:])
    output = network.apply({"params": params}, a_NHWZ, b_NHWZ, jnp.full(a_NHWZ.shape[0], 0.5))
    return unfold_frames(output.merged_BHWC, clip_BFHWZ.shape[1] - 1)


def slerp_midpoints(params: Params, clip_BFHWZ: jax.Array) -> jax.Array:
    """Interpolation without motion, which Fig. 6 compares the flow with; `params` are not used."""
    a_NHWZ, b_NHWZ = fold_frames(clip_BFHWZ[:, :-1]), fold_frames(clip_BFHWZ[:, 1:])
    middle_NHWZ = slerp(a_NHWZ, b_NHWZ, jnp.asarray(0.5))
    return unfold_frames(middle_NHWZ, clip_BFHWZ.shape[1] - 1)


def interleave(frames_BFHWZ: jax.Array, middle_BMHWZ: jax.Array) -> jax.Array:
    """Original frames at even places, bit for bit, the new ones between: `[B, F + M, H, W, Z]`."""
    pairs = jnp.stack([frames_BFHWZ[:, :-1], middle_BMHWZ], axis=2)
    alternating_BFHWZ = rearrange(pairs, "b m two h w z -> b (m two) h w z")
    return jnp.concatenate([alternating_BFHWZ, frames_BFHWZ[:, -1:]], axis=1)
