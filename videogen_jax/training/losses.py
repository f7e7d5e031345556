"""The denoising loss that all diffusion models share, and the dropping of conditions.

Letters: B batch, T tokens; `x0` is `[B, ...]`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from videogen_jax.diffusion import process
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.training.task import Metrics

Predict = Callable[[jax.Array, jax.Array], jax.Array]


def denoising_loss(
    schedule: ScheduleConfig,
    predict: Predict,
    x0: jax.Array,
    key: jax.Array,
    min_snr_gamma: float | None = None,
) -> tuple[jax.Array, Metrics]:
    """Mean squared error of the network's output at uniformly drawn timesteps (DDPM eq. 14).

    Args:
        schedule: noise levels and what the network predicts (eps, x0 or v).
        predict: `(x_t, timesteps_B) -> output` of x0's shape.
        x0: clean latents.
        key: draws timesteps and noise.
        min_snr_gamma: min-SNR weighting (Hang et al. 2023), None for none.

    Returns:
        The loss, and the unweighted error by quarter of the timesteps (quarter 0 is least noise).
    """
    tables = process.noise_tables(schedule)
    time_key, noise_key = jax.random.split(key)
    timesteps_B = jax.random.randint(time_key, x0.shape[:1], 0, schedule.num_train_timesteps)
    noise = jax.random.normal(noise_key, x0.shape)
    alpha_B, sigma_B = process.noise_level(tables, timesteps_B)
    output = predict(process.add_noise(tables, x0, noise, timesteps_B), timesteps_B)
    target = process.target(schedule.prediction, x0, noise, alpha_B, sigma_B)
    error_B = jnp.square(output - target).mean(axis=tuple(range(1, x0.ndim)))
    weight_B = process.loss_weight(schedule.prediction, alpha_B, sigma_B, min_snr_gamma)
    quarter_B = timesteps_B * 4 // schedule.num_train_timesteps
    metrics = {f"error_quarter_{q}": _mean_where(error_B, quarter_B == q) for q in range(4)}
    return (weight_B * error_B).mean(), metrics


def drop_text(
    tokens_BT: jax.Array, null_tokens_T: jax.Array, probability: float, key: jax.Array
) -> jax.Array:
    """Replaces prompts by the empty prompt, so that sampling can be guided (Ho & Salimans 2022)."""
    drop_B = jax.random.bernoulli(key, probability, tokens_BT.shape[:1])
    return jnp.where(drop_B[:, None], null_tokens_T, tokens_BT)


def _mean_where(values_B: jax.Array, mask_B: jax.Array) -> jax.Array:
    """The mean over the chosen samples; NaN, meaning "none", where there are none."""
    return jnp.where(mask_B, values_B, 0.0).sum() / mask_B.sum()
