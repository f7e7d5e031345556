"""Classifier-free guidance (Ho & Salimans 2022), with one pass of the network or with two.

Letters: B batch, K = 2B, the unconditional half first. `x` without a suffix is `[B, ...]`.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.diffusion.process import match_rank
from videogen_jax.diffusion.samplers import Plan
from videogen_jax.errors import UserError

ConditionalModel = Callable[[jax.Array, jax.Array, Any], jax.Array]
GuidancePasses: TypeAlias = Literal["together", "in_turn"]
"""The names of `guided` and `guided_in_turn`."""


def guided(
    model_fn: ConditionalModel,
    guidance_scale: jax.Array | float,
    guidance_rescale: jax.Array | float = 0.0,
) -> ConditionalModel:
    """Returns a guided model, which runs `model_fn` once on a doubled batch and extrapolates.

    Args:
        model_fn: `(x, timesteps, cond) -> output`, `[K, ...]` in and out; the output may be of any
            prediction type, since all are linear.
        guidance_scale: s of uncond + s (cond − uncond), a scalar or one per sample `[B]`; may be
            traced. 1 is no guidance, 0 unconditional.
        guidance_rescale: φ in [0, 1] of Lin et al. 2023, section 3.4: how far the guided output is
            rescaled to the per-sample standard deviation of the conditional one. May be traced. The
            number 0.0 leaves the rescaling out.

    Returns:
        `(x, timesteps_B, cond) -> output`, `[B, ...]` in and out; each leaf of `cond` is still
        `[uncond; cond]` stacked along its first axis `[K, ...]`.

    Raises:
        UserError: the number `guidance_rescale` is outside [0, 1].
    """
    _check_rescale(guidance_rescale)

    def guided_model(x: jax.Array, timesteps_B: jax.Array, cond: Any) -> jax.Array:
        output = model_fn(
            jnp.concatenate([x, x]), jnp.concatenate([timesteps_B, timesteps_B]), cond
        )
        return _extrapolated(jnp.split(output, 2), guidance_scale, guidance_rescale)

    return guided_model


def guided_in_turn(
    model_fn: ConditionalModel,
    guidance_scale: jax.Array | float,
    guidance_rescale: jax.Array | float = 0.0,
) -> ConditionalModel:
    """Returns a guided model, which runs `model_fn` on `[B, ...]` twice, one after the other.

    So the activations of one half are in memory at a time. Arguments and errors are those of
    `guided`; each leaf of the result's `cond` has an axis of two before the batch, `[2, B, ...]`.
    """
    _check_rescale(guidance_rescale)

    def guided_model(x: jax.Array, timesteps_B: jax.Array, cond: Any) -> jax.Array:
        outputs = jax.lax.map(lambda half: model_fn(x, timesteps_B, half), cond)
        return _extrapolated(list(outputs), guidance_scale, guidance_rescale)

    return guided_model


def step_ranges(
    plan: Plan,
    first: int,
    num_steps: int,
    guidance_scale: float,
    interval: tuple[float, float] | None = None,
) -> list[tuple[int, int, bool]]:
    """Returns the steps of a plan as ranges [start, stop) with guidance (True) and without.

    The unguided ones need the conditional pass alone.

    Args:
        plan: the sampler's coefficients, as NumPy arrays.
        first: the first step that is taken.
        num_steps: steps of the plan.
        guidance_scale: a scale of 1 is no guidance.
        interval: guidance is used at noise levels low < σ/α ≤ high (Kynkäänniemi et al. 2024, in
            whose coordinates, x_0 + σ ε, it is σ); None for all levels.
    """
    low, high = (0.0, math.inf) if interval is None else interval
    with np.errstate(divide="ignore"):  # α is 0 at zero terminal SNR
        level_S = plan.sigma_T[:num_steps] / plan.alpha_T[:num_steps]
    inside_S = (low < level_S) & (level_S <= high) & (guidance_scale != 1.0)
    starts = [first, *(1 + np.flatnonzero(np.diff(inside_S))).tolist(), num_steps]
    ranges = zip(starts, starts[1:], strict=False)
    return [(max(first, a), b, bool(inside_S[a])) for a, b in ranges if max(first, a) < b]


def _check_rescale(guidance_rescale: jax.Array | float) -> None:
    is_number = isinstance(guidance_rescale, float | int)
    if is_number and not 0.0 <= guidance_rescale <= 1.0:
        raise UserError(f"guidance_rescale is {guidance_rescale}, expected a number in [0, 1]")


def _extrapolated(
    outputs: list[jax.Array],
    guidance_scale: jax.Array | float,
    guidance_rescale: jax.Array | float,
) -> jax.Array:
    """Extrapolates from the unconditional to the conditional output, float32 `[B, ...]`."""
    # Extrapolation amplifies rounding errors, so it is done in float32 for any model dtype.
    uncond, conditional = (output.astype(jnp.float32) for output in outputs)
    scale = match_rank(jnp.asarray(guidance_scale, jnp.float32), uncond)
    result = uncond + scale * (conditional - uncond)
    if isinstance(guidance_rescale, float | int) and guidance_rescale == 0.0:
        return result
    rescaled = result * (_std_per_sample(conditional) / _std_per_sample(result))
    return guidance_rescale * rescaled + (1.0 - guidance_rescale) * result


def _std_per_sample(x: jax.Array) -> jax.Array:
    """Returns the standard deviation over all axes but the batch, kept broadcastable."""
    return jnp.std(x, axis=tuple(range(1, x.ndim)), keepdims=True)
