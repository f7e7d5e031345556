"""The loop of the samplers: statistics, steps apart, compilation, bad fields."""

from dataclasses import replace
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.sampler_loop import NOISE, jax_network, run
from videogen_jax.diffusion import process, samplers
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.diffusion.samplers import Plan, SamplerState
from videogen_jax.diffusion.schedule import ScheduleConfig

# 20,000 draws give the standard deviation to 0.5 %; the remainder allows for 250 discrete steps.
STATISTICS_TOLERANCE = 0.02


def gaussian_v_model(schedule: ScheduleConfig, mean: float, std: float) -> samplers.ModelFn:
    """Returns the exact v-prediction for data from N(mean, std²)."""
    tables = process.noise_tables(schedule)

    def model_fn(x: jax.Array, timesteps_B: jax.Array) -> jax.Array:
        alpha, sigma = process.noise_level(tables, timesteps_B.astype(jnp.int32))
        variance = (alpha * std) ** 2 + sigma**2
        x0 = mean + alpha * std**2 / variance * (x - alpha * mean)
        eps = sigma / variance * (x - alpha * mean)
        return process.target("v", x0, eps, alpha, sigma)

    return model_fn


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_a_gaussian_is_sampled_with_its_mean_and_deviation(name: Any) -> None:
    schedule = ScheduleConfig(beta_schedule="cosine", zero_terminal_snr=True, prediction="v")
    config = SamplerConfig(name, num_steps=250, timestep_spacing="trailing")
    model_fn = gaussian_v_model(schedule, mean=0.5, std=0.7)
    key, first = jax.random.split(jax.random.key(0))
    noise = jax.random.normal(first, (20_000,))

    @jax.jit
    def run_gaussian(plan: Plan) -> jax.Array:
        def noise_fn(i: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(key, i), noise.shape)

        state = samplers.init_state(noise, plan)
        return samplers.sample(config, model_fn, state, plan, 0, plan.num_steps, noise_fn).x

    x = run_gaussian(samplers.plan(schedule, config))
    np.testing.assert_allclose(x.mean(), 0.5, atol=STATISTICS_TOLERANCE)
    np.testing.assert_allclose(x.std(), 0.7, atol=STATISTICS_TOLERANCE)


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler_ancestral"])
def test_step_by_step_is_the_whole_chain(name: Any) -> None:
    config = SamplerConfig(name, num_steps=7)
    plan = samplers.plan(ScheduleConfig(), config)
    first = samplers.init_state(jnp.asarray(NOISE[-1]), plan)
    whole = run(config, first, plan, NOISE, jnp.int32(0), plan.num_steps)
    state = first
    for i in range(7):
        state = run(config, state, plan, NOISE, jnp.int32(i), jnp.int32(i + 1))
    assert jnp.array_equal(state.x, whole.x)


def test_another_number_of_steps_or_spacing_does_not_compile_again() -> None:
    traces = []

    @jax.jit
    def run_counted(state: SamplerState, plan: Plan) -> jax.Array:
        traces.append(plan)
        return samplers.sample(
            config, jax_network, state, plan, 0, plan.num_steps, lambda i: state.x
        ).x

    schedule, config = ScheduleConfig(), SamplerConfig("dpmpp_2m")
    plans = [
        samplers.plan(schedule, config, num_steps=3),
        samplers.plan(schedule, config, num_steps=11),
        samplers.plan(schedule, replace(config, timestep_spacing="trailing")),
    ]
    noise = jnp.asarray(NOISE[-1])
    outputs = [run_counted(samplers.init_state(noise, plan), plan) for plan in plans]
    assert len(traces) == 1
    assert not jnp.allclose(outputs[0], outputs[1]) and not jnp.allclose(outputs[1], outputs[2])


def test_steps_past_the_end_change_nothing() -> None:
    config = SamplerConfig("ddpm", num_steps=3)
    plan = samplers.plan(ScheduleConfig(), config)
    state = samplers.init_state(jnp.asarray(NOISE[-1]), plan)
    after = run(config, state, plan, NOISE, jnp.int32(3), jnp.int32(10))
    assert jnp.array_equal(after.x, state.x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "plms"}, "sampler is 'plms'"),
        ({"timestep_spacing": "karras"}, "timestep_spacing is 'karras'"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"steps_offset": -1}, "steps_offset is -1"),
        ({"eta": 1.5}, "eta is 1.5"),
        ({"name": "euler", "eta": 0.5}, "only ddim has it, not euler"),
        ({"final_sigma": "small"}, "final_sigma is 'small'"),
        ({"name": "ddpm", "final_sigma": "sigma_min"}, "ddpm always ends without noise"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplerConfig(**fields)


@pytest.mark.parametrize(
    ("config", "num_steps"),
    [
        (SamplerConfig("ddim", timestep_spacing="leading", steps_offset=1), 1000),
        (SamplerConfig("ddpm", timestep_spacing="linspace"), 1001),
        (SamplerConfig("ddpm", timestep_spacing="trailing"), 1500),
        (SamplerConfig("dpmpp_2m", timestep_spacing="leading"), 1000),
    ],
)
def test_more_steps_than_timesteps_is_an_error(config: SamplerConfig, num_steps: int) -> None:
    with pytest.raises(ValueError, match=f"cannot take {num_steps} steps of 1000 timesteps"):
        samplers.plan(ScheduleConfig(), config, num_steps)


def test_zero_steps_is_an_error() -> None:
    with pytest.raises(ValueError, match="num_steps is 0"):
        samplers.plan(ScheduleConfig(), SamplerConfig(), num_steps=0)
