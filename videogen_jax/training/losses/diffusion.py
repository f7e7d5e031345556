"""The denoising loss of all diffusion models, and the dropout of conditions.

Letters: B batch; `x0` is `[B, ...]`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from videogen_jax.diffusion import process
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.pipeline import noise
from videogen_jax.training.task import Mean, Metrics

# A batch's entry with the place of each sample's timestep among all, from 0 to 1, float32 `[B]`.
# Validation has it, so that its timesteps are spread evenly; in training they are drawn.
FRACTIONS = "timestep_fractions"
# Folded into a sample's key, for its timestep and its noise.
_TIME, _NOISE = 0, 1

Predict = Callable[[jax.Array, jax.Array], jax.Array]


def denoising_loss(
    schedule: ScheduleConfig,
    predict: Predict,
    x0: jax.Array,
    keys_B: jax.Array,
    min_snr_gamma: float | None = None,
    fractions_B: jax.Array | None = None,
) -> tuple[jax.Array, Metrics]:
    """Mean squared error of the network's output at uniformly drawn timesteps (DDPM eq. 14).

    Args:
        schedule: noise levels and what the network predicts (eps, x0 or v).
        predict: `(x_t, timesteps_B) -> output` of x0's shape.
        x0: clean latents.
        keys_B: a key per sample, for its timestep and its noise.
        min_snr_gamma: γ of min-SNR weighting (Hang et al. 2023); None for no weighting.
        fractions_B: `FRACTIONS` of the batch, in place of drawn timesteps.

    Returns:
        The loss, and the unweighted error per quarter of the timesteps (quarter 0 has the least
        noise).
    """
    tables = process.noise_tables(schedule)
    number = schedule.num_train_timesteps
    if fractions_B is None:
        timesteps_B = integers(noise.fold_in(keys_B, _TIME), number)
    else:
        timesteps_B = jnp.minimum((fractions_B * number).astype(jnp.int32), number - 1)
    eps = noise.normal(noise.fold_in(keys_B, _NOISE), x0.shape[1:])
    alpha_B, sigma_B = process.noise_level(tables, timesteps_B)
    output = predict(process.add_noise(tables, x0, eps, timesteps_B), timesteps_B)
    target = process.target(schedule.prediction, x0, eps, alpha_B, sigma_B)
    error_B = jnp.square(output - target).mean(axis=tuple(range(1, x0.ndim)))
    weight_B = process.loss_weight(schedule.prediction, alpha_B, sigma_B, min_snr_gamma)
    quarter_B = timesteps_B * 4 // number
    metrics = {f"error_quarter_{q}": _mean_where(error_B, quarter_B == q) for q in range(4)}
    return (weight_B * error_B).mean(), metrics


def drop_text(text: jax.Array, null: jax.Array, probability: float, keys_B: jax.Array) -> jax.Array:
    """Replaces prompts by the empty prompt, so that sampling can be guided (Ho & Salimans 2022).

    Args:
        text: tokens or states of prompts, `[B, ...]`.
        null: those of the empty prompt, without B.
        probability: that a prompt is replaced.
        keys_B: a key per sample; the same keys replace the same prompts, in tokens and states.
    """
    dropped_B = chance(keys_B, probability)
    return jnp.where(dropped_B.reshape(-1, *(1,) * null.ndim), null, text)


def chance(keys_B: jax.Array, probability: float) -> jax.Array:
    """Draws booleans `[B]` that are True with `probability`, each from its own key."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys_B)


def integers(keys_B: jax.Array, stop: int) -> jax.Array:
    """Draws uniform integers in [0, stop), int32 `[B]`, each from its own key."""
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, stop))(keys_B)


def _mean_where(values_B: jax.Array, mask_B: jax.Array) -> Mean:
    """Returns the mean over the samples that the mask selects."""
    return Mean(jnp.where(mask_B, values_B, 0.0).sum(), mask_B.sum())
