"""The forward process x_t = α x_0 + σ ε, and the prediction types of networks.

A network's output is a linear combination of x_0 and ε. With x_t as the second equation, x_0 and ε
follow from it. Only `_output_weights` defines the combinations; losses and samplers both use it.

α and σ are arrays of shape `[B]`, or scalars; samples are `[B, ...]` of any rank.
Letters: T training timesteps, B batch. `x` without a suffix is `[B, ...]`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.diffusion.schedule import Prediction, ScheduleConfig, alphas_cumprod
from videogen_jax.errors import UserError


class NoiseTables(NamedTuple):
    """α and σ of every training timestep, float32 `[T]`."""

    alpha_T: jax.Array
    sigma_T: jax.Array


def noise_tables(config: ScheduleConfig) -> NoiseTables:
    """Returns the schedule's tables, rounded to float32 after the roots are taken in float64."""
    alpha_bar_T = alphas_cumprod(config)
    return NoiseTables(
        alpha_T=jnp.asarray(np.sqrt(alpha_bar_T), jnp.float32),
        sigma_T=jnp.asarray(np.sqrt(1.0 - alpha_bar_T), jnp.float32),
    )


def noise_level(tables: NoiseTables, timesteps_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (α, σ), each `[B]`, of integer timesteps in [0, T)."""
    return tables.alpha_T[timesteps_B], tables.sigma_T[timesteps_B]


def add_noise(
    tables: NoiseTables, x0: jax.Array, noise: jax.Array, timesteps_B: jax.Array
) -> jax.Array:
    """Returns x_t = α x_0 + σ ε of `x0` and `noise` `[B, ...]` at `timesteps_B` (DDPM eq. 4)."""
    alpha_B, sigma_B = noise_level(tables, timesteps_B)
    return match_rank(alpha_B, x0) * x0 + match_rank(sigma_B, x0) * noise


def target(
    prediction: Prediction, x0: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array
) -> jax.Array:
    """Returns the target of a network of type `prediction` for clean `x0` and `noise`, `[B, ...]`.

    It is ε, x_0, or v = α ε − σ x_0 (Salimans & Ho 2022, appendix D).
    """
    of_x0, of_noise = _output_weights(prediction, alpha, sigma)
    return match_rank(of_x0, x0) * x0 + match_rank(of_noise, x0) * noise


def to_x0(
    prediction: Prediction, x_t: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array
) -> jax.Array:
    """Returns the clean sample that the network's `output` at `x_t` implies, `[B, ...]`.

    Undefined for "eps" where α = 0, which `ScheduleConfig` excludes.
    """
    of_x_t, of_output = x0_weights(prediction, alpha, sigma)
    return match_rank(of_x_t, x_t) * x_t + match_rank(of_output, x_t) * output


def to_eps(
    prediction: Prediction, x_t: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array
) -> jax.Array:
    """Returns the noise that the network's `output` at `x_t` implies, `[B, ...]`."""
    of_x0, of_noise = _output_weights(prediction, alpha, sigma)
    determinant = alpha * of_noise - sigma * of_x0
    return (
        match_rank(-of_x0 / determinant, x_t) * x_t + match_rank(alpha / determinant, x_t) * output
    )


def x0_weights(prediction: Prediction, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """Returns (a, b) of x_0 = a x_t + b output, scalars or arrays of α's shape, type and dtype."""
    of_x0, of_noise = _output_weights(prediction, alpha, sigma)
    determinant = alpha * of_noise - sigma * of_x0
    return of_noise / determinant, -sigma / determinant


def loss_weight(
    prediction: Prediction,
    alpha_B: jax.Array,
    sigma_B: jax.Array,
    min_snr_gamma: float | None = None,
) -> jax.Array:
    """Returns the weight `[B]` of the squared error of the network's output.

    Min-SNR-γ (Hang et al. 2023): the squared error of x_0 has weight min(SNR, γ), with SNR = α²/σ².
    The error of ε is SNR times as large and that of v SNR + 1 times, so their weights are divided
    by these factors. None gives the unweighted loss. With zero terminal SNR, the last timestep has
    weight 0.

    Raises:
        UserError: γ is not above 0.
    """
    if min_snr_gamma is None:
        return jnp.ones_like(alpha_B)
    if not min_snr_gamma > 0.0:
        raise UserError(f"min_snr_gamma is {min_snr_gamma}, expected a number above 0")
    signal, noise = alpha_B**2, sigma_B**2
    match prediction:
        case "x0":
            return jnp.minimum(signal / noise, min_snr_gamma)
        case "eps":
            return jnp.minimum(1.0, min_snr_gamma * noise / signal)
        case "v":  # SNR + 1 = 1/σ² removes the division
            return jnp.minimum(signal, min_snr_gamma * noise)


def match_rank(weight: jax.Array, x: jax.Array) -> jax.Array:
    """Adds trailing axes to `weight`, a scalar or `[B]`, to multiply `x` `[B, ...]` by it."""
    weight = jnp.asarray(weight)
    return weight.reshape(weight.shape + (1,) * (x.ndim - 1)) if weight.ndim else weight


def _output_weights(prediction: Prediction, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """Returns (p, q) of output = p x_0 + q ε, of α's shape and array type.

    The inverse, with x_t = α x_0 + σ ε and d = α q − σ p, is
    x_0 = (q x_t − σ output) / d and ε = (−p x_t + α output) / d.
    """
    match prediction:
        case "eps":
            return 0.0 * alpha, 0.0 * alpha + 1.0
        case "v":
            return -sigma, alpha
        case "x0":
            return 0.0 * alpha + 1.0, 0.0 * alpha
