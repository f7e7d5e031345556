"""The noise schedules: comparison with diffusers, shift, and zero terminal SNR."""

from typing import Any

import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.diffusion.schedule import ScheduleConfig, alphas_cumprod

diffusers = import_reference("diffusers")

# diffusers multiplies 1000 alphas in float32.
DIFFUSERS_TOLERANCE = 2e-6
EXACT_TOLERANCE = 1e-12

DIFFUSERS_NAMES: dict[str, Any] = {
    "scaled_linear": "scaled_linear",
    "linear": "linear",
    "cosine": "squaredcos_cap_v2",
}


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("beta_schedule", DIFFUSERS_NAMES)
def test_alphas_cumprod_agree_with_diffusers(beta_schedule: Any, zero_terminal_snr: bool) -> None:
    config = ScheduleConfig(
        beta_schedule=beta_schedule, zero_terminal_snr=zero_terminal_snr, prediction="v"
    )
    reference = diffusers.DDPMScheduler(
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule=DIFFUSERS_NAMES[beta_schedule],
        rescale_betas_zero_snr=zero_terminal_snr,
    )
    ours = alphas_cumprod(config)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, reference.alphas_cumprod, rtol=0, atol=DIFFUSERS_TOLERANCE)


@pytest.mark.parametrize("beta_schedule", DIFFUSERS_NAMES)
@pytest.mark.parametrize("num_train_timesteps", [10, 1000])
def test_signal_falls_strictly(beta_schedule: Any, num_train_timesteps: int) -> None:
    for zero_terminal_snr in (False, True):
        config = ScheduleConfig(
            num_train_timesteps,
            beta_schedule,
            shift=3.0,
            zero_terminal_snr=zero_terminal_snr,
            prediction="v",
        )
        alpha_bar = alphas_cumprod(config)
        assert alpha_bar.shape == (num_train_timesteps,)
        assert np.all(np.diff(alpha_bar) < 0) and alpha_bar[0] < 1
        assert (alpha_bar[-1] == 0) == zero_terminal_snr


def test_shift_multiplies_sigma_over_alpha() -> None:
    def ratio(shift: float) -> np.ndarray:
        alpha_bar = alphas_cumprod(ScheduleConfig(beta_schedule="cosine", shift=shift))
        return np.sqrt((1 - alpha_bar) / alpha_bar)

    # 1 − ᾱ loses digits where ᾱ is near 1.
    np.testing.assert_allclose(ratio(3.0), 3.0 * ratio(1.0), rtol=1e-9)


def test_cosine_ratio_is_the_tangent_of_the_angle() -> None:
    alpha_bar = alphas_cumprod(ScheduleConfig(beta_schedule="cosine", shift=2.0))
    angle = (np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2
    first = np.cos(0.008 / 1.008 * np.pi / 2) ** 2  # the betas start here, not at 1
    alpha_bar_unshifted = np.cos(angle) ** 2 / first
    expected = 1 / (1 + 4 * (1 - alpha_bar_unshifted) / alpha_bar_unshifted)
    # The last beta is capped.
    np.testing.assert_allclose(alpha_bar[:-1], expected[:-1], rtol=0, atol=EXACT_TOLERANCE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start"),
        ({"beta_end": 1.0}, "beta_end"),
        ({"shift": 0.0}, "shift is 0.0"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"prediction": "epsilon"}, "prediction is 'epsilon'"),
        ({"zero_terminal_snr": True}, "not 'eps'"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**fields)
