"""Forward process and conversions: comparison with diffusers, round trips, and zero SNR."""

from __future__ import annotations

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.diffusion import process
from videogen_jax.diffusion.schedule import Prediction, ScheduleConfig

torch = import_reference("torch")
diffusers = import_reference("diffusers")
training_utils = import_reference("diffusers.training_utils")

BLOCK_TOLERANCE = 1e-5
# A float32 rounding error in x_t is divided by α, which is 0.07 at the last timestep.
ROUND_TRIP_TOLERANCE = 1e-4

TIMESTEPS = jnp.array([0, 1, 500, 998, 999])
SHAPES = [(5, 4), (5, 6, 6, 3), (5, 2, 4, 4, 3)]


def pair(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns (x0, noise)."""
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], shape), jax.random.normal(keys[1], shape)


def to_torch(x: jax.Array) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_add_noise_and_velocity_agree_with_diffusers(shape: tuple[int, ...]) -> None:
    config = ScheduleConfig()
    reference = diffusers.DDPMScheduler(
        beta_start=config.beta_start, beta_end=config.beta_end, beta_schedule="scaled_linear"
    )
    x0, noise = pair(shape)
    timesteps = torch.tensor(TIMESTEPS.tolist())
    tables = process.noise_tables(config)
    np.testing.assert_allclose(
        process.add_noise(tables, x0, noise, TIMESTEPS),
        reference.add_noise(to_torch(x0), to_torch(noise), timesteps),  # pyright: ignore[reportArgumentType]
        atol=BLOCK_TOLERANCE,
    )
    np.testing.assert_allclose(
        process.target("v", x0, noise, *process.noise_level(tables, TIMESTEPS)),
        reference.get_velocity(to_torch(x0), to_torch(noise), timesteps),  # pyright: ignore[reportArgumentType]
        atol=BLOCK_TOLERANCE,
    )


@pytest.mark.parametrize("prediction", get_args(Prediction))
def test_the_true_output_gives_back_x0_and_noise(prediction: Any) -> None:
    tables = process.noise_tables(ScheduleConfig(prediction=prediction))
    alpha, sigma = process.noise_level(tables, TIMESTEPS)
    x0, noise = pair((5, 2, 4, 4, 3))
    x_t = process.add_noise(tables, x0, noise, TIMESTEPS)
    output = process.target(prediction, x0, noise, alpha, sigma)
    x0_again = process.to_x0(prediction, x_t, output, alpha, sigma)
    noise_again = process.to_eps(prediction, x_t, output, alpha, sigma)
    np.testing.assert_allclose(x0_again, x0, atol=ROUND_TRIP_TOLERANCE)
    np.testing.assert_allclose(noise_again, noise, atol=ROUND_TRIP_TOLERANCE)


def test_targets_are_what_they_are_called() -> None:
    x0, noise = pair((5, 4))
    alpha, sigma = process.noise_level(process.noise_tables(ScheduleConfig()), TIMESTEPS)
    assert jnp.array_equal(process.target("eps", x0, noise, alpha, sigma), noise)
    assert jnp.array_equal(process.target("x0", x0, noise, alpha, sigma), x0)


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_zero_terminal_snr_divides_by_nothing(prediction: Any) -> None:
    config = ScheduleConfig(zero_terminal_snr=True, prediction=prediction)
    tables = process.noise_tables(config)
    last = jnp.full((5,), config.num_train_timesteps - 1)
    alpha, sigma = process.noise_level(tables, last)
    x0, noise = pair((5, 4))
    x_t = process.add_noise(tables, x0, noise, last)
    assert jnp.array_equal(x_t, noise)
    output = process.target(prediction, x0, noise, alpha, sigma)
    np.testing.assert_allclose(process.to_x0(prediction, x_t, output, alpha, sigma), x0)
    np.testing.assert_allclose(process.to_eps(prediction, x_t, output, alpha, sigma), noise)
    assert jnp.all(process.loss_weight(prediction, alpha, sigma, min_snr_gamma=5.0) == 0)


@pytest.mark.parametrize("prediction", get_args(Prediction))
def test_min_snr_weight_is_clipped_snr_over_the_error_scale(prediction: Any) -> None:
    config = ScheduleConfig(prediction=prediction)
    reference = diffusers.DDPMScheduler(
        beta_start=config.beta_start, beta_end=config.beta_end, beta_schedule="scaled_linear"
    )
    timesteps = jnp.arange(0, 1000, 37)
    snr = training_utils.compute_snr(reference, torch.tensor(timesteps.tolist())).numpy()
    error_scale = {"x0": 1.0, "eps": snr, "v": snr + 1.0}[prediction]
    alpha, sigma = process.noise_level(process.noise_tables(config), timesteps)
    ours = process.loss_weight(prediction, alpha, sigma, min_snr_gamma=5.0)
    # diffusers computes 1 − ᾱ in float32, which loses digits at the clean end.
    np.testing.assert_allclose(ours, np.minimum(snr, 5.0) / error_scale, rtol=1e-3)


def test_weight_is_one_without_gamma_and_gamma_is_checked() -> None:
    level = jnp.array([0.6, 0.8])
    assert jnp.array_equal(process.loss_weight("v", level, level[::-1]), jnp.ones(2))
    with pytest.raises(ValueError, match="min_snr_gamma is 0"):
        process.loss_weight("v", level, level[::-1], min_snr_gamma=0)
