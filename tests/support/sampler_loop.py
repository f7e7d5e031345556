"""A sampling loop with a function in place of a network, compiled once per sampler."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.diffusion import samplers
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.samplers import Plan, SamplerState

SHAPE = (2, 3, 4, 4)
MAX_STEPS = 50
NOISE = np.random.default_rng(0).standard_normal((MAX_STEPS + 1, *SHAPE)).astype(np.float32)


def network(x: Any, timesteps: Any, tanh: Callable[[Any], Any]) -> Any:
    """Replaces a network by a fixed bounded function of arrays or tensors."""
    return 0.8 * tanh(0.9 * x + 0.001 * timesteps - 0.4)


def jax_network(x: jax.Array, timesteps_B: jax.Array) -> jax.Array:
    return network(x, timesteps_B.reshape(-1, *(1,) * (x.ndim - 1)), jnp.tanh)


@partial(jax.jit, static_argnames="config")
def run(
    config: SamplerConfig,
    state: SamplerState,
    plan: Plan,
    noise: jax.Array,
    start: jax.Array,
    stop: jax.Array,
) -> SamplerState:
    return samplers.sample(config, jax_network, state, plan, start, stop, lambda i: noise[i])
