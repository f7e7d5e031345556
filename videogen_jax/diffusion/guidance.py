"""Classifier-free guidance (Ho & Salimans 2022).

Letters: B batch, K = 2B, the unconditional half first. `x` without a suffix is `[B, ...]`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.diffusion.process import match_rank
from videogen_jax.errors import UserError

ConditionalModel = Callable[[jax.Array, jax.Array, Any], jax.Array]


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
    is_number = isinstance(guidance_rescale, float | int)
    if is_number and not 0.0 <= guidance_rescale <= 1.0:
        raise UserError(f"guidance_rescale is {guidance_rescale}, expected a number in [0, 1]")

    def guided_model(x: jax.Array, timesteps_B: jax.Array, cond: Any) -> jax.Array:
        output = model_fn(
            jnp.concatenate([x, x]), jnp.concatenate([timesteps_B, timesteps_B]), cond
        )
        # Extrapolation amplifies rounding errors, so it is done in float32 for any model dtype.
        uncond, conditional = jnp.split(output.astype(jnp.float32), 2)
        scale = match_rank(jnp.asarray(guidance_scale, jnp.float32), x)
        result = uncond + scale * (conditional - uncond)
        if is_number and guidance_rescale == 0.0:
            return result
        rescaled = result * (_std_per_sample(conditional) / _std_per_sample(result))
        return guidance_rescale * rescaled + (1.0 - guidance_rescale) * result

    return guided_model


def _std_per_sample(x: jax.Array) -> jax.Array:
    """Returns the standard deviation over all axes but the batch, kept broadcastable."""
    return jnp.std(x, axis=tuple(range(1, x.ndim)), keepdims=True)
