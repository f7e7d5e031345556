"""Sampling from one diffusion model: the image model, a stage of the cascade or the refiner.

Letters: B samples, F frames, H height, W width, Z latent channels.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from videogen_jax.config import DenoiserConfig
from videogen_jax.diffusion.guidance import GuidancePasses, guided, guided_in_turn, step_ranges
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.samplers import (
    ModelFn,
    Plan,
    SamplerState,
    first_step,
    init_state,
    loop_config,
    noised_after,
    noised_state,
    plan,
    sample,
    starting_at,
)
from videogen_jax.layout import constrain
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.network import Conditions, Network, Params, Prepared

Tick = Callable[[int], object]  # called with the number of steps or frames just finished
Watch = Callable[[int, jax.Array], object]  # called with a step's number and its latents


class Held(NamedTuple):
    """A part of the latents that stays what it is, noised as far as the others in every step.

    `clean_BFHWZ` are latents; `free_BFHWZ`, True or False, broadcasts against them and says where
    the model decides.
    """

    clean_BFHWZ: jax.Array
    free_BFHWZ: jax.Array


class Sampling(TypedDict, total=False):
    """Arguments of `Denoiser.sample` for one diffusion model; None is the config's value."""

    steps: int | None
    guidance_scale: float | None
    guidance_rescale: float
    guidance_interval: tuple[float, float] | None
    guidance_passes: GuidancePasses
    sampler: SamplerConfig | None


class Guidance(NamedTuple):
    """Arguments of `guided` as data of the compiled loop; `rescale` is None for no rescaling."""

    scale: Any
    rescale: Any


@functools.cache
def sampling_plan(config: DenoiserConfig, num_steps: int, first: int = 0) -> Plan:
    """Returns the sampler's coefficients for `num_steps` steps, to be taken from step `first` on.

    They are NumPy arrays: JAX's would stay on the devices of the first call's mesh.

    Raises UserError if the sampler cannot take that many steps.
    """
    with jax.ensure_compile_time_eval():  # a cached tracer would outlive its trace
        table = plan(config.schedule, config.sampler, num_steps)
        table = starting_at(first, table) if first else table
        return jax.tree.map(np.asarray, table)


def _initial_noise(keys_B: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return noise.normal(noise.fold_in(keys_B, noise.INITIAL), shape)


def _laid_out(state: SamplerState) -> SamplerState:
    """Shards the state before and after a step alike: otherwise the second step compiles anew."""
    return jax.tree.map(lambda x_BFHWZ: constrain(x_BFHWZ, "batch frames rows . ."), state)


class Denoiser:
    """One diffusion model: its network, schedule, sampler and compiled sampling loop.

    Parameters, conditions, keys, guidance, the number of steps and the sampler are data to
    the loop. It compiles again for another batch size, number of frames or resolution, and once
    each for samplers that draw noise and for those that do not, with and without a rescaling of the
    guidance, and with guidance and without, which includes a scale of 1.
    """

    def __init__(self, config: DenoiserConfig, latent_size: int, dtype: DTypeLike = jnp.float32):
        self.config = config
        self._size = (latent_size, latent_size)
        self._network = Network(config.unet, dtype)
        self._begin = jax.jit(self._initial_state, static_argnames="shape")
        self._draw = jax.jit(_initial_noise, static_argnames="shape")
        self._prepare = jax.jit(self._prepared, static_argnames=("num_frames", "passes"))
        self._take_steps = jax.jit(self._sample, static_argnames=("loop", "passes"))

    def sample(
        self,
        params: Params,
        given: Conditions,
        keys_B: jax.Array,
        num_frames: int,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
        guidance_passes: GuidancePasses = "together",
        sampler: SamplerConfig | None = None,
        size: tuple[int, int] | None = None,
        latents_BFHWZ: jax.Array | None = None,
        clean_BFHWZ: jax.Array | None = None,
        strength: float = 1.0,
        held: Held | None = None,
        tick: Tick | None = None,
        watch: Watch | None = None,
    ) -> jax.Array:
        """Draws latents under the conditions, float32 `[B, F, H, W, Z]`.

        They have the height and width of the low-res condition, or else of the reference, or else
        `size`, by default the config's.

        Args:
            params: the network's parameters.
            given: the conditions; guidance is used if `negative` is set.
            keys_B: keys from which all noise is drawn.
            num_frames: F, 1 for an image.
            steps: network evaluations, by default the sampler's.
            guidance_scale: by default the config's; unused without guidance, and none at 1.
            guidance_rescale: φ in [0, 1] of `guided`; unused without guidance.
            guidance_interval: noise levels of guided steps, see `step_ranges`; by default all.
            guidance_passes: `guided`, "together", or `guided_in_turn`.
            sampler: by default the config's.
            size: height and width of the latents, where no condition has them.
            latents_BFHWZ: standard normal noise to start from, float32; by default from the keys.
            clean_BFHWZ: latents to start from, with noise added to them; by default noise alone.
            strength: share of the steps that are taken from noised latents, in (0, 1]; unused
                without `clean_BFHWZ`.
            held: a part of the latents that stays (Lugmayr et al. 2022, RePaint, equation 8); after
                the last step it is `held.clean_BFHWZ`.
            tick: called after each step, once the step's result is computed.
            watch: called before it with the step's number, from 0, and the latents after the step,
                in the sampler's variance-preserving coordinates.

        Raises:
            UserError: the sampler cannot take that many steps.
        """
        config = self.config
        if sampler is not None:
            config = dataclasses.replace(config, sampler=sampler)
        if steps is None:
            steps = config.sampler.num_steps
        if guidance_scale is None:
            guidance_scale = config.guidance_scale
        first = 0 if clean_BFHWZ is None else first_step(steps, strength)
        table = sampling_plan(config, steps, first)
        # None, not 0, leaves the rescaling out of the compiled loop.
        rescale = np.float32(guidance_rescale) if guidance_rescale else None
        guidance = Guidance(np.float32(guidance_scale), rescale)
        shape = (
            num_frames,
            *(self._size_of(given) or size or self._size),
            config.unet.out_channels,
        )
        state = self._begin(keys_B, latents_BFHWZ, clean_BFHWZ, table, first, shape=shape)
        fixed: dict[str, Any] = {"loop": loop_config(config.sampler)}
        if held is not None:
            if latents_BFHWZ is None:
                latents_BFHWZ = self._draw(keys_B, shape=shape)
            fixed |= {"held": held, "noise_BFHWZ": latents_BFHWZ}
        # Steps without guidance may come before and after those with it.
        prepare = functools.cache(
            lambda passes: self._prepare(params, given, table, num_frames=num_frames, passes=passes)
        )
        scale = 1.0 if given.negative is None else guidance_scale
        for start, stop, guides in step_ranges(table, first, steps, scale, guidance_interval):
            passes, here = (guidance_passes, guidance) if guides else (None, None)
            prepared, embedded_TD = prepare(passes)
            take_steps = functools.partial(
                self._take_steps,
                *(params, prepared, table._replace(timesteps_T=embedded_TD), keys_B, here),
                passes=passes,
                **fixed,
            )
            if tick is None and watch is None:
                state = take_steps(state, start, stop)
            else:
                state = _watched(take_steps, state, range(start, stop), tick, watch)
        return state.x

    def _size_of(self, given: Conditions) -> tuple[int, int] | None:
        for condition_BFHWZ in (given.low_res_BFHWZ, given.reference_BFHWZ):
            if condition_BFHWZ is not None:
                return condition_BFHWZ.shape[2], condition_BFHWZ.shape[3]
        return None

    def _initial_state(
        self,
        keys_B: jax.Array,
        latents_BFHWZ: jax.Array | None,
        clean_BFHWZ: jax.Array | None,
        table: Plan,
        first: int,
        shape: tuple[int, ...],
    ) -> SamplerState:
        if latents_BFHWZ is None:
            latents_BFHWZ = _initial_noise(keys_B, shape)
        if clean_BFHWZ is None:
            return _laid_out(init_state(latents_BFHWZ, table))
        return _laid_out(noised_state(clean_BFHWZ, latents_BFHWZ, table, first))

    def _prepared(
        self,
        params: Params,
        given: Conditions,
        table: Plan,
        num_frames: int,
        passes: GuidancePasses | None,
    ) -> tuple[Prepared, jax.Array]:
        """Computes what all steps have in common, and the time embeddings of all of them."""
        return (
            self._network.prepare(params, given, num_frames, passes),
            self._network.time_embeddings(params, table.timesteps_T),
        )

    def _sample(
        self,
        params: Params,
        prepared: Prepared,
        table: Plan,
        keys_B: jax.Array,
        guidance: Guidance | None,
        state: SamplerState,
        start: int,
        stop: int,
        loop: SamplerConfig,
        passes: GuidancePasses | None,
        held: Held | None = None,
        noise_BFHWZ: jax.Array | None = None,
    ) -> SamplerState:
        """Takes steps of a table that has time embeddings in place of timesteps."""

        def noise_fn(step: jax.Array) -> jax.Array:
            return noise.normal(noise.fold_in(keys_B, noise.FIRST_STEP + step), state.x.shape[1:])

        def hold_fn(step: jax.Array, x: jax.Array) -> jax.Array:
            assert held is not None and noise_BFHWZ is not None
            kept = noised_after(held.clean_BFHWZ, noise_BFHWZ, table, step)
            return jnp.where(held.free_BFHWZ, x, kept)

        model_fn = self._model_fn(params, prepared, guidance, passes)
        hold = hold_fn if held is not None else None
        return _laid_out(sample(loop, model_fn, state, table, start, stop, noise_fn, hold))

    def _model_fn(
        self,
        params: Params,
        prepared: Prepared,
        guidance: Guidance | None,
        passes: GuidancePasses | None,
    ) -> ModelFn:
        network = functools.partial(self._network, params)
        if guidance is None:
            return lambda x, embedded_BD: network(x, embedded_BD, prepared)
        rescale = 0.0 if guidance.rescale is None else guidance.rescale
        make = guided if passes == "together" else guided_in_turn
        model = make(network, guidance.scale, rescale)
        return lambda x, embedded_BD: model(x, embedded_BD, prepared)


def _watched(
    take_steps: Callable[[SamplerState, int, int], SamplerState],
    state: SamplerState,
    steps: range,
    tick: Tick | None,
    watch: Watch | None,
) -> SamplerState:
    """Takes steps one by one and reports each, see `Denoiser.sample`."""
    for step in steps:
        state = take_steps(state, step, step + 1)
        jax.block_until_ready(state)
        if watch is not None:
            watch(step, state.x)
        if tick is not None:
            tick(1)
    return state
