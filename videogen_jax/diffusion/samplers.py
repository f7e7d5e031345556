"""Samplers: five published methods as one update rule, under one compiled loop.

Written in variance-preserving coordinates, x = α x_0 + σ ε, each of the samplers here goes from
noise level (α, σ) to (α', σ') by DDIM's equation 12 (Song et al. 2021)

    x' = α' x_0 + √(σ'² − s²) ε + s z,    s² = η² (σ'²/σ²) (1 − α²/α'²),    z ~ N(0, 1)

- `ddim`: the update itself, with `eta` = η.
- `ddpm`: η = 1, the posterior of DDPM (Ho et al. 2020, eqs. 6 and 7).
- `euler`: η = 0; Euler's step for dx/dσ = (x − x_0)/σ in k-diffusion's x/α against σ/α
  (Karras et al. 2022, Algorithm 1 without the second-order correction).
- `euler_ancestral`: η = 1; k-diffusion's σ_up and σ_down multiply out to the same posterior.
- `dpmpp_2m`: η = 0 with x_0 replaced by x_0 + (h/2h₀)(x_0 − previous x_0), where h and h₀ are the
  current and the previous step in log(α/σ) (Lu et al. 2022, DPM-Solver++, Algorithm 2, midpoint).
  x_0 is kept in the first step, which has no previous x_0, and in a last step that ends at σ = 0.

The samplers also differ in their time grids, which are those of the diffusers schedulers of the
same name. So a sampler is a table of coefficients, a `Plan`, computed in float64 on the host. The
number of steps and even the sampler are data to the compiled loop.

Letters: B batch, S steps of a plan, T = training timesteps ≥ S. `x` without a suffix is `[B, ...]`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.diffusion.process import x0_weights
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.schedule import ScheduleConfig, alphas_cumprod
from videogen_jax.errors import UserError

ModelFn: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
NoiseFn: TypeAlias = Callable[[jax.Array], jax.Array]
HoldFn: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]

# With fewer steps, diffusers' DPM-Solver++ takes its last step at first order.
_FEW_STEPS = 15
# Replaces ᾱ = 0 where a sampler needs a finite σ/α (diffusers' value).
_SMALLEST_ALPHA_BAR = 2.0**-24


class Plan(NamedTuple):
    """Coefficients of each step, float32 `[T]` unless noted; no effect from `num_steps` on.

    Step i evaluates the network at `timesteps[i]`, takes
    x_0 = `x0_of_x` x + `x0_of_output` output, and goes to
    x' = `keep` x + `denoised` (x_0 + `extrapolate` (x_0 − previous x_0)) + `noise` z.
    Before it, x = `alpha` x_0 + `sigma` ε.
    """

    num_steps: jax.Array  # int32 []
    init_scale: jax.Array  # float32 []: standard deviation of the first x
    timesteps_T: jax.Array  # or embeddings of them, `[T, D]`, for a network that takes these
    alpha_T: jax.Array
    sigma_T: jax.Array
    x0_of_x_T: jax.Array
    x0_of_output_T: jax.Array
    keep_T: jax.Array
    denoised_T: jax.Array
    extrapolate_T: jax.Array
    noise_T: jax.Array


class SamplerState(NamedTuple):
    """The sample in variance-preserving coordinates and the last estimate of x_0, float32."""

    x: jax.Array
    previous_x0: jax.Array


def plan(
    schedule_config: ScheduleConfig, sampler_config: SamplerConfig, num_steps: int | None = None
) -> Plan:
    """Computes a sampler's coefficients in float64 on the host.

    Args:
        schedule_config: the schedule that the network was trained on, and its prediction type.
        sampler_config: the sampler.
        num_steps: replaces `sampler_config.num_steps`.

    Raises:
        UserError: `num_steps` is below 1, or the spacing does not fit that many steps into the
            training timesteps.
    """
    if num_steps is not None:
        sampler_config = replace(sampler_config, num_steps=num_steps)
    timesteps_S = _timesteps(sampler_config, schedule_config.num_train_timesteps)
    alpha_bar_S, next_alpha_bar_S = _noise_levels(schedule_config, sampler_config, timesteps_S)
    alpha, sigma = np.sqrt(alpha_bar_S), np.sqrt(1.0 - alpha_bar_S)
    next_alpha, next_sigma = np.sqrt(next_alpha_bar_S), np.sqrt(1.0 - next_alpha_bar_S)

    noise = sampler_config.noise_amount * (next_sigma / sigma)
    noise = noise * np.sqrt(1.0 - alpha_bar_S / next_alpha_bar_S)
    keep = np.sqrt(next_sigma**2 - noise**2) / sigma
    denoised = next_alpha - alpha * keep
    if sampler_config.name == "euler":  # diffusers' result is x/α, with α < 1 if it has noise left
        keep[-1] /= next_alpha[-1]
        denoised[-1] /= next_alpha[-1]
    extrapolate = np.zeros_like(alpha)
    if sampler_config.name == "dpmpp_2m":
        _extrapolate(extrapolate, sampler_config, alpha / sigma, next_alpha[-1], next_sigma[-1])
    x0_of_x, x0_of_output = x0_weights(schedule_config.prediction, alpha, sigma)

    def table(values: np.ndarray, fill: float = 0.0) -> jax.Array:
        padding = (0, schedule_config.num_train_timesteps - len(timesteps_S))
        return jnp.asarray(np.pad(values, padding, constant_values=fill), jnp.float32)

    return Plan(
        num_steps=jnp.asarray(len(timesteps_S), jnp.int32),
        init_scale=jnp.asarray(_init_scale(sampler_config, sigma[0]), jnp.float32),
        timesteps_T=table(timesteps_S),
        alpha_T=table(alpha, fill=1.0),
        sigma_T=table(sigma),
        x0_of_x_T=table(x0_of_x),
        x0_of_output_T=table(x0_of_output),
        keep_T=table(keep, fill=1.0),
        denoised_T=table(denoised),
        extrapolate_T=table(extrapolate),
        noise_T=table(noise),
    )


def _extrapolate(
    extrapolate_S: np.ndarray,
    config: SamplerConfig,
    ratio_S: np.ndarray,
    last_alpha: float,
    last_sigma: float,
) -> None:
    """Sets h/2h₀ of each second-order step, from α/σ before the steps and after the last one."""
    step_sizes = np.diff(np.log(ratio_S))
    extrapolate_S[1:-1] = step_sizes[1:] / (2.0 * step_sizes[:-1])
    if not config.ends_without_noise and len(ratio_S) >= _FEW_STEPS:
        last_size = np.log(last_alpha / last_sigma) - np.log(ratio_S[-1])
        extrapolate_S[-1] = last_size / (2.0 * step_sizes[-1])


def init_state(noise: jax.Array, plan: Plan) -> SamplerState:
    """Returns the state before step 0, from standard normal `noise` `[B, ...]`."""
    x = plan.init_scale * noise.astype(jnp.float32)
    return SamplerState(x=x, previous_x0=jnp.zeros_like(x))


def first_step(num_steps: int, strength: float) -> int:
    """Returns the step from which the share `strength` of the steps is left, at least one.

    `strength` is in (0, 1]. The number is rounded down, as in diffusers' image-to-image pipelines.
    """
    return num_steps - max(1, int(num_steps * strength + 1e-9))


def starting_at(step: int, plan: Plan) -> Plan:
    """Returns a plan whose steps begin at `step`, for the state of `noised_state`."""
    # There is no previous x_0 to extrapolate from.
    return plan._replace(extrapolate_T=plan.extrapolate_T.at[step].set(0.0))


def noised_state(
    clean: jax.Array, noise: jax.Array, plan: Plan, step: jax.Array | int
) -> SamplerState:
    """Returns the state before a step from a sample and noise: α x_0 + σ ε (SDEdit, Meng et al.).

    `clean` and the standard normal `noise` are `[B, ...]`.
    """
    x = plan.alpha_T[step] * clean + plan.sigma_T[step] * noise
    return SamplerState(x=x.astype(jnp.float32), previous_x0=jnp.zeros_like(x, jnp.float32))


def noised_after(clean: jax.Array, noise: jax.Array, plan: Plan, step: jax.Array) -> jax.Array:
    """Returns a sample and noise, as `noised_state`, at the noise level after a step."""
    following = jnp.minimum(step + 1, plan.alpha_T.shape[0] - 1)
    is_last = step + 1 >= plan.num_steps
    alpha = jnp.where(is_last, 1.0, plan.alpha_T[following])
    sigma = jnp.where(is_last, 0.0, plan.sigma_T[following])
    return alpha * clean + sigma * noise


def loop_config(config: SamplerConfig) -> SamplerConfig:
    """Returns the config shared by all stochastic samplers, or by all others, to compile once."""
    return SamplerConfig("ddpm" if config.noise_amount > 0.0 else "ddim")


def sample(
    config: SamplerConfig,
    model_fn: ModelFn,
    state: SamplerState,
    plan: Plan,
    start: jax.Array | int,
    stop: jax.Array | int,
    noise_fn: NoiseFn,
    hold_fn: HoldFn | None = None,
) -> SamplerState:
    """Takes the steps `start` ≤ i < `stop` of `plan`; all of them are 0 to `plan.num_steps`.

    Pure and jittable: `config`, `model_fn` and `noise_fn` are static, other arguments are data. If
    `config` is equal, neither stepping one by one nor a plan with another number of steps or
    spacing compiles again: change the steps with the `num_steps` argument of `plan`.

    Args:
        config: the plan's sampler; only whether it is stochastic matters here.
        model_fn: `(x, timesteps_B) -> output` of the schedule's prediction type; `x` `[B, ...]` is
            float32 with variance α² var(x_0) + σ², `timesteps_B` float32 (fractional for the Euler
            samplers with "linspace").
        state: the result of `init_state`, or the state after the steps before `start`.
        plan: the coefficients.
        start: first step; may be traced.
        stop: one past the last step; may be traced.
        noise_fn: step index, int32 `[]` → standard normal of x's shape; not called by
            deterministic samplers.
        hold_fn: `(step, x) -> x`, applied to x after each step; by default x is kept.

    Returns:
        The state after step `stop` − 1; after the last step `x` is the sample.
    """

    def step(i: jax.Array, state: SamplerState) -> SamplerState:
        x = state.x
        timestep = plan.timesteps_T[i]
        timesteps_B = jnp.broadcast_to(timestep, (*x.shape[:1], *timestep.shape))
        output = model_fn(x, timesteps_B).astype(jnp.float32)
        x0 = plan.x0_of_x_T[i] * x + plan.x0_of_output_T[i] * output
        denoised = x0 + plan.extrapolate_T[i] * (x0 - state.previous_x0)
        x = plan.keep_T[i] * x + plan.denoised_T[i] * denoised
        if config.noise_amount > 0.0:
            x = x + plan.noise_T[i] * noise_fn(i)
        if hold_fn is not None:
            x = hold_fn(i, x)
        return SamplerState(x, previous_x0=x0)

    return jax.lax.fori_loop(start, stop, step, state)


def _init_scale(config: SamplerConfig, first_sigma: float) -> float:
    """Returns the standard deviation of the first x.

    k-diffusion's grids start at N(0, (σ/α)²) in x/α. With "leading" spacing, diffusers uses the
    variance (σ/α)² + 1, which is 1 here.
    """
    is_euler = config.name in ("euler", "euler_ancestral")
    return first_sigma if is_euler and config.timestep_spacing != "leading" else 1.0


def _timesteps(config: SamplerConfig, num_train: int) -> np.ndarray:
    """Returns the timesteps that the network is called with, decreasing, float64 `[S]`.

    Raises:
        UserError: they are not in [0, T), not all different, or more than T.
    """
    num_steps = min(config.num_steps, num_train + 1)  # more are refused without allocating them
    # DPM-Solver++'s grid has one more point, the end of its last step, which is left out.
    points = num_steps + 1 if config.name == "dpmpp_2m" else num_steps
    match config.timestep_spacing:
        case "linspace":
            rising = np.linspace(0, num_train - 1, points)
            is_fractional = config.name in ("euler", "euler_ancestral")
            timesteps_S = (rising if is_fractional else rising.round())[::-1][:num_steps]
        case "leading":
            rising = np.arange(points) * (num_train // points) + config.steps_offset
            timesteps_S = rising[::-1][:num_steps].astype(np.float64)
        case "trailing":
            # The slice is for a few S, such as 61 of 1000, where arange gives one element too many.
            timesteps_S = np.arange(num_train, 0, -num_train / num_steps)[:num_steps].round() - 1
    is_falling = num_steps <= num_train and np.all(np.diff(timesteps_S) < 0)
    if timesteps_S[0] > num_train - 1 or not is_falling:
        raise UserError(
            f"{config.name} with {config.timestep_spacing!r} spacing and steps_offset "
            f"{config.steps_offset} cannot take {config.num_steps} steps of {num_train} timesteps"
        )
    return timesteps_S


def _noise_levels(
    schedule_config: ScheduleConfig, config: SamplerConfig, timesteps_S: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ᾱ before and after each step, float64 `[S]` each."""
    alpha_bar_T = alphas_cumprod(schedule_config)
    num_train, num_steps = len(alpha_bar_T), len(timesteps_S)
    if config.name == "ddim":
        # diffusers steps by T // S for any spacing.
        index_S = timesteps_S.astype(np.int64)
        next_S = index_S - num_train // num_steps
        final = 1.0 if config.ends_without_noise else alpha_bar_T[0]
        return alpha_bar_T[index_S], np.where(next_S < 0, final, alpha_bar_T[next_S])
    if config.name == "ddpm":
        alpha_bar_S = alpha_bar_T[timesteps_S.astype(np.int64)]
    else:
        if schedule_config.zero_terminal_snr:
            alpha_bar_T[-1] = _SMALLEST_ALPHA_BAR
        # σ/α is interpolated linearly between timesteps.
        ratio_T = np.sqrt((1.0 - alpha_bar_T) / alpha_bar_T)
        alpha_bar_S = 1.0 / (1.0 + np.interp(timesteps_S, np.arange(num_train), ratio_T) ** 2)
    final = 1.0 if config.ends_without_noise else alpha_bar_T[0]
    return alpha_bar_S, np.append(alpha_bar_S[1:], final)
