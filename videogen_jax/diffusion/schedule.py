"""Noise schedules: the levels of signal and noise at each training timestep.

All are variance preserving: x_t = α_t x_0 + σ_t ε with α_t² + σ_t² = 1. They are defined by
ᾱ_t = α_t², computed in float64 on the host.

Letters: T training timesteps.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from videogen_jax.errors import UserError

BetaSchedule: TypeAlias = Literal["scaled_linear", "linear", "cosine"]
Prediction: TypeAlias = Literal["eps", "v", "x0"]

_COSINE_OFFSET = 0.008  # Nichol & Dhariwal 2021, eq. 17: keeps β small near t = 0
_COSINE_MAX_BETA = 0.999  # the same, section 3.2: no singularity at t = T


@dataclass(frozen=True)
class ScheduleConfig:
    """A discrete noise schedule, and the prediction type of the network.

    The defaults are Stable Diffusion's (and so VideoGen's §3.5).

    Attributes:
        num_train_timesteps: number T of timesteps 0 … T − 1, in order of increasing noise.
        beta_schedule: β linear ("linear", DDPM), √β linear ("scaled_linear", latent diffusion), or
            "cosine" (Nichol & Dhariwal 2021; diffusers' "squaredcos_cap_v2").
        beta_start: first β; unused by "cosine".
        beta_end: last β; unused by "cosine".
        shift: multiplies σ/α at every timestep: logSNR − 2 log shift (Hoogeboom et al. 2023,
            "simple diffusion", eq. 4). Above 1 is noisier. On the cosine schedule, where σ/α is the
            tangent of an angle, it multiplies that tangent.
        zero_terminal_snr: rescales α so that the last timestep is pure noise (Lin et al. 2023,
            Algorithm 1). Not with "eps", which does not determine x_0 there.
        prediction: the network's output: the noise ε, the velocity v = α ε − σ x_0
            (Salimans & Ho 2022), or x_0 itself.

    Raises:
        UserError: a field is out of its range, or fields contradict each other.
    """

    num_train_timesteps: int = 1000
    beta_schedule: BetaSchedule = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    shift: float = 1.0
    zero_terminal_snr: bool = False
    prediction: Prediction = "eps"

    def __post_init__(self) -> None:
        if self.num_train_timesteps < 2:
            raise UserError(
                f"num_train_timesteps is {self.num_train_timesteps}, expected at least 2"
            )
        if self.beta_schedule not in get_args(BetaSchedule):
            raise UserError(
                f"beta_schedule is {self.beta_schedule!r}, expected one of {get_args(BetaSchedule)}"
            )
        if not 0.0 < self.beta_start <= self.beta_end < 1.0:
            raise UserError(
                f"beta_start, beta_end are {self.beta_start}, {self.beta_end}, "
                "expected 0 < beta_start <= beta_end < 1"
            )
        if not 0.0 < self.shift < math.inf:
            raise UserError(f"shift is {self.shift}, expected a finite number above 0")
        if self.prediction not in get_args(Prediction):
            raise UserError(
                f"prediction is {self.prediction!r}, expected one of {get_args(Prediction)}"
            )
        if self.zero_terminal_snr and self.prediction == "eps":
            raise UserError("zero_terminal_snr needs prediction 'v' or 'x0', not 'eps'")


def alphas_cumprod(config: ScheduleConfig) -> np.ndarray:
    """Returns ᾱ_t = α_t², float64 `[T]`, decreasing, in [0, 1); 0 only if `zero_terminal_snr`.

    Agrees with `diffusers.DDPMScheduler.alphas_cumprod` at shift 1. The zero-SNR rescaling comes
    before the shift.
    """
    alpha_bar_T = np.cumprod(1.0 - _betas(config))
    if config.zero_terminal_snr:
        alpha_bar_T = _rescale_to_zero_terminal_snr(alpha_bar_T)
    return alpha_bar_T / (alpha_bar_T + config.shift**2 * (1.0 - alpha_bar_T))


def _betas(config: ScheduleConfig) -> np.ndarray:
    """Returns β_t, float64 `[T]`."""
    start, end, count = config.beta_start, config.beta_end, config.num_train_timesteps
    match config.beta_schedule:
        case "linear":
            return np.linspace(start, end, count)
        case "scaled_linear":
            return np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2
        case "cosine":
            time = np.arange(count + 1) / count
            alpha_bar = np.cos((time + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2) ** 2
            return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], _COSINE_MAX_BETA)


def _rescale_to_zero_terminal_snr(alpha_bar_T: np.ndarray) -> np.ndarray:
    """Shifts and scales √ᾱ: the last becomes 0, the first stays (Lin et al. 2023, Algorithm 1)."""
    root_T = np.sqrt(alpha_bar_T)
    first, last = root_T[0], root_T[-1]
    return ((root_T - last) * first / (first - last)) ** 2
