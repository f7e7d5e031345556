"""The train state and the one train step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from videogen_jax.training.task import Batch, Metrics, Params, Task


class TrainState(NamedTuple):
    """All that training changes. `ema` is the running average of `params` that is sampled from."""

    step: jax.Array  # int32 scalar: steps done
    params: Params
    ema: Params
    opt_state: optax.OptState


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """A fresh state around `params`."""
    ema = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, ema, optimizer.init(params))


def make_step(
    task: Task, optimizer: optax.GradientTransformation, ema_decay: float
) -> Callable[[TrainState, Params, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """The step function `(state, frozen, batch, key) -> (state, metrics)`, to be jitted.

    `key` is the run's; the step's own is folded from it and the step number, so that a resumed run
    draws what an uninterrupted one does.
    """

    def step(
        state: TrainState, frozen: Params, batch: Batch, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        step_key = jax.random.fold_in(key, state.step)
        grad_fn = jax.value_and_grad(task.loss, has_aux=True)
        (loss, metrics), grads = grad_fn(state.params, frozen, batch, step_key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # A young average would remember the initial weights: it starts short and grows.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, state.ema, params)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads), **metrics}
        return TrainState(state.step + 1, params, ema, opt_state), metrics

    return step
