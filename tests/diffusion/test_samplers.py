"""Samplers: comparison with the diffusers schedulers of the same names."""

import importlib
from itertools import product
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from tests.support.sampler_loop import MAX_STEPS, NOISE, SHAPE, network, run
from videogen_jax.diffusion import samplers
from videogen_jax.diffusion.sampler_config import SamplerConfig, TimestepSpacing
from videogen_jax.diffusion.schedule import ScheduleConfig

diffusers = import_reference("diffusers")
torch = import_reference("torch")

# diffusers' tensors use the old signature of numpy's `__array__`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# For a whole chain: both sides step in float32, and diffusers' schedule is float32 too.
NETWORK_TOLERANCE = 1e-4

CLEAN = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)

SCHEDULERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
}
# Fields in which Stable Diffusion's configuration files differ from diffusers' defaults.
STABLE_DIFFUSION_FIELDS = {
    "ddpm": {"clip_sample": False},
    "ddim": {"clip_sample": False, "set_alpha_to_one": False},
    "dpmpp_2m": {"final_sigmas_type": "zero", "lower_order_final": True, "solver_order": 2},
    "euler": {},
    "euler_ancestral": {},
}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
SPACINGS: tuple[TimestepSpacing, ...] = get_args(TimestepSpacing)
BETA_SCHEDULES = {"scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def ours(schedule: ScheduleConfig, config: SamplerConfig, first: int = 0) -> np.ndarray:
    """Returns our chain; from step `first` on, if that is not 0, it starts from noised `CLEAN`."""
    plan = samplers.plan(schedule, config)
    state = samplers.init_state(jnp.asarray(NOISE[-1]), plan)
    if first:
        state = samplers.noised_state(jnp.asarray(CLEAN), jnp.asarray(NOISE[-1]), plan, first)
        plan = samplers.starting_at(first, plan)
    # Neither grid nor schedule is static, so the tests share one compilation per sampler.
    static = SamplerConfig(name=config.name, eta=config.eta)
    return np.asarray(run(static, state, plan, NOISE, jnp.int32(first), plan.num_steps).x)


def reference(
    schedule: ScheduleConfig,
    config: SamplerConfig,
    monkeypatch: pytest.MonkeyPatch,
    first: int = 0,
) -> tuple[np.ndarray, float]:
    """Returns diffusers' chain in its own coordinates, and its initial scale."""
    scheduler_class = getattr(diffusers, SCHEDULERS[config.name])
    scheduler = scheduler_class(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=BETA_SCHEDULES[schedule.beta_schedule],
        prediction_type=PREDICTIONS[schedule.prediction],
        rescale_betas_zero_snr=schedule.zero_terminal_snr,
        timestep_spacing=config.timestep_spacing,
        steps_offset=config.steps_offset,
        **STABLE_DIFFUSION_FIELDS[config.name] | final_fields(config),
    )
    scheduler.set_timesteps(config.num_steps)
    noise = iter(torch.from_numpy(NOISE[first:]))
    module = importlib.import_module(scheduler_class.__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: next(noise))
    extra: dict[str, Any] = {"eta": config.eta} if config.name == "ddim" else {}
    x = torch.from_numpy(NOISE[-1]) * scheduler.init_noise_sigma
    timesteps = scheduler.timesteps[first:]
    if first:  # as in diffusers' image-to-image pipelines
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        x = scheduler.add_noise(torch.from_numpy(CLEAN), torch.from_numpy(NOISE[-1]), timesteps[:1])
    for t in timesteps:
        output = network(scheduler.scale_model_input(x, t), t, torch.tanh)
        x = scheduler.step(output, t, x, **extra).prev_sample
    return x.numpy(), float(scheduler.init_noise_sigma)


def final_fields(config: SamplerConfig) -> dict[str, Any]:
    """Returns diffusers' field for a last noise level that is not Stable Diffusion's."""
    if config.final_sigma is None:
        return {}
    if config.name == "ddim":
        return {"set_alpha_to_one": config.final_sigma == "zero"}
    return {"final_sigmas_type": config.final_sigma}


def assert_parity(
    schedule: ScheduleConfig,
    config: SamplerConfig,
    monkeypatch: pytest.MonkeyPatch,
    first: int = 0,
) -> None:
    """Asserts equality up to float32 rounding at the scale of the samples."""
    expected, first_scale = reference(schedule, config, monkeypatch, first)
    # diffusers' Euler steps x/α, which starts at σ/α: 20,000 at the end of the cosine schedule.
    rounding = first_scale * float(np.finfo(np.float32).eps)
    tolerance = max(NETWORK_TOLERANCE * max(1.0, float(np.std(expected))), rounding)
    message = f"{schedule} {config} from {first}"
    np.testing.assert_allclose(
        ours(schedule, config, first), expected, rtol=0, atol=tolerance, err_msg=message
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_parity_with_diffusers(
    name: Any, beta_schedule: Any, prediction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (name, prediction) == ("euler_ancestral", "x0"):
        pytest.skip("diffusers' Euler-ancestral has no sample prediction")
    schedule = ScheduleConfig(beta_schedule=beta_schedule, prediction=prediction)
    for spacing, num_steps in product(SPACINGS, (5, 20, MAX_STEPS)):
        assert_parity(schedule, SamplerConfig(name, num_steps, spacing), monkeypatch)


def test_stochastic_ddim_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    for spacing in SPACINGS:
        config = SamplerConfig("ddim", 20, spacing, eta=0.6)
        assert_parity(ScheduleConfig(), config, monkeypatch)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "euler"])
def test_last_noise_level_parity(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for final_sigma, spacing, num_steps in product(("zero", "sigma_min"), SPACINGS, (5, 20)):
        config = SamplerConfig(name, num_steps, spacing, final_sigma=final_sigma)
        assert_parity(ScheduleConfig(), config, monkeypatch)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_starting_from_a_noised_sample_is_diffusers_image_to_image(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spacing, num_steps, first in product(SPACINGS, (20,), (1, 11, 19)):
        config = SamplerConfig(name, num_steps, spacing)
        assert_parity(ScheduleConfig(prediction="v"), config, monkeypatch, first)


def test_the_strength_is_the_share_of_steps_that_diffusers_takes() -> None:
    for num_steps, strength in product((1, 5, 8, 30, 50, 1000), np.linspace(0.01, 1, 100)):
        expected = max(num_steps - min(int(num_steps * round(strength, 2) + 1e-9), num_steps), 0)
        found = samplers.first_step(num_steps, strength)
        assert found == min(expected, num_steps - 1)  # at least one step
    assert samplers.first_step(30, 1.0) == 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_zero_terminal_snr_parity(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = ScheduleConfig(zero_terminal_snr=True, prediction="v")
    for spacing, num_steps in product(SPACINGS, (5, 20)):
        assert_parity(schedule, SamplerConfig(name, num_steps, spacing), monkeypatch)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_timesteps_agree_with_diffusers_for_any_number_of_steps(name: Any) -> None:
    schedule = ScheduleConfig()
    for spacing, num_steps in product(SPACINGS, (1, 2, 3, 7, 30, 61, 80, 333, 666)):
        config = SamplerConfig(name, num_steps, spacing)
        try:
            plan = samplers.plan(schedule, config)
        except ValueError:  # that many steps would repeat a timestep
            assert name == "dpmpp_2m" and spacing == "linspace" and num_steps > 500
            continue
        scheduler = getattr(diffusers, SCHEDULERS[name])(
            timestep_spacing=spacing, steps_offset=config.steps_offset
        )
        scheduler.set_timesteps(num_steps)
        expected = scheduler.timesteps[:num_steps]  # theirs may overshoot to −1 in "trailing"
        np.testing.assert_allclose(plan.timesteps_T[:num_steps], expected, rtol=1e-6)
        assert plan.num_steps == num_steps
        assert plan.timesteps_T.shape == (schedule.num_train_timesteps,)
