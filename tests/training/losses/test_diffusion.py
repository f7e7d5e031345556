"""The denoising loss: targets, weights and metrics, and the dropping of prompts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax.diffusion import process
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.training.losses.diffusion import denoising_loss, drop_text
from videogen_jax.training.step import as_scalar

# α and σ are rounded to float32, and a perfect ε is a difference divided by a small σ.
PERFECT_TOLERANCE = 1e-4
BLOCK_TOLERANCE = 1e-5
STEPS = 100
X0 = np.random.default_rng(0).standard_normal((64, 2, 3, 3, 4), np.float32)
KEYS = jax.random.split(jax.random.key(0), 64)


def schedule(prediction: str) -> ScheduleConfig:
    return ScheduleConfig(num_train_timesteps=STEPS, prediction=prediction)


def perfect(config: ScheduleConfig):
    """Returns a perfect network, which computes its output from the true x0."""
    tables = process.noise_tables(config)

    def predict(x_t, timesteps_B):
        alpha, sigma = process.noise_level(tables, timesteps_B)
        column = lambda value_B: value_B.reshape(-1, 1, 1, 1, 1)
        eps = (x_t - column(alpha) * X0) / column(sigma)
        match config.prediction:
            case "eps":
                return eps
            case "v":
                return column(alpha) * eps - column(sigma) * X0
            case "x0":
                return jnp.asarray(X0)

    return predict


def recorded(config: ScheduleConfig, gamma: float | None):
    """Returns loss and metrics of a network that outputs 0, its noisy input and its timesteps."""
    seen = []

    def predict(x_t, timesteps_B):
        seen.append((x_t, timesteps_B))
        return jnp.zeros_like(x_t)

    loss, metrics = denoising_loss(config, predict, X0, KEYS, gamma)
    return loss, metrics, *seen[0]


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_perfect_network_costs_nothing(prediction):
    config = schedule(prediction)
    loss, metrics = denoising_loss(config, perfect(config), X0, KEYS)
    assert 0 <= loss < PERFECT_TOLERANCE
    assert set(metrics) == {f"error_quarter_{quarter}" for quarter in range(4)}


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_loss_and_metrics_are_means_over_samples(prediction, gamma):
    config = schedule(prediction)
    loss, metrics, x_t, timesteps = recorded(config, gamma)
    tables = process.noise_tables(config)
    alpha, sigma = (np.asarray(x, np.float64) for x in process.noise_level(tables, timesteps))
    column = (-1, 1, 1, 1, 1)
    eps = (np.asarray(x_t) - alpha.reshape(column) * X0) / sigma.reshape(column)
    target = {
        "eps": eps,
        "v": alpha.reshape(column) * eps - sigma.reshape(column) * X0,
        "x0": X0,
    }[prediction]
    error_B = np.square(target).mean(axis=(1, 2, 3, 4))
    # Hang et al. 2023: min(SNR, γ) for x0, divided by the scale of the error of another output.
    snr = np.square(alpha / sigma)
    gain = {"eps": snr, "v": snr + 1, "x0": 1}[prediction]
    weight_B = np.ones_like(snr) if gamma is None else np.minimum(snr, gamma) / gain
    np.testing.assert_allclose(loss, (weight_B * error_B).mean(), rtol=1e-3)
    for quarter in range(4):
        chosen = (timesteps >= quarter * STEPS / 4) & (timesteps < (quarter + 1) * STEPS / 4)
        np.testing.assert_allclose(
            as_scalar(metrics[f"error_quarter_{quarter}"]),
            error_B[np.asarray(chosen)].mean(),
            rtol=1e-3,
        )


def test_a_quarter_without_samples_has_no_error():
    one = X0[:1]
    _, metrics = denoising_loss(schedule("eps"), lambda x, _: x, one, KEYS[:1])
    values = np.array([as_scalar(metric) for metric in metrics.values()])
    assert np.isnan(values).sum() == 3


def test_draws_cover_all_timesteps_and_depend_on_the_keys_alone():
    config = ScheduleConfig(num_train_timesteps=8)
    seen = []

    def predict(x_t, timesteps_B):
        seen.append(np.asarray(timesteps_B))
        return x_t

    many = jnp.zeros((4000, 1))
    keys = jax.random.split(jax.random.key(0), 4000)
    first, _ = denoising_loss(config, predict, many, keys)
    again, _ = denoising_loss(config, predict, many, keys)
    denoising_loss(config, predict, many, jax.random.split(jax.random.key(1), 4000))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()
    # The expected count of each is 500, with a standard deviation of 21.
    counts = np.bincount(seen[0], minlength=8)
    assert len(counts) == 8 and counts.min() > 400 and counts.max() < 600


def test_timesteps_and_noise_are_drawn_apart():
    """Noise has unit variance and differs between samples, at every timestep."""
    _, _, x_t, timesteps = recorded(schedule("eps"), None)
    alpha, sigma = process.noise_level(process.noise_tables(schedule("eps")), timesteps)
    column = (-1, 1, 1, 1, 1)
    noise = (x_t - alpha.reshape(column) * X0) / sigma.reshape(column)
    np.testing.assert_allclose(noise.std(), 1, atol=0.05)
    assert jnp.abs(jnp.corrcoef(noise.reshape(64, -1)) - jnp.eye(64)).max() < 0.6


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0.0, 0, 0), (0.1, 60, 140), (1.0, 1000, 1000)]
)
def test_prompts_are_dropped_whole(probability, low, high):
    tokens_BT = np.arange(5000).reshape(1000, 5) + 10
    null_T = np.arange(5)
    keys = jax.random.split(jax.random.key(0), 1000)
    dropped = np.asarray(drop_text(tokens_BT, null_T, probability, keys))
    is_null, is_kept = (dropped == null_T).all(axis=1), (dropped == tokens_BT).all(axis=1)
    assert (is_null ^ is_kept).all()
    assert low <= is_null.sum() <= high
