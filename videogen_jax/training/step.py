"""The train state and the train step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.errors import UserError
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.optim import trainable, with_frozen
from videogen_jax.training.task import Batch, Mean, Metrics, Params, Task


class TrainState(NamedTuple):
    """All that training changes. `ema` is the running average of `params`; samples use it."""

    step: jax.Array  # int32 scalar: steps done, including skipped ones
    params: Params
    ema: Params
    opt_state: optax.OptState
    skipped: jax.Array  # int32 scalar: updates skipped because loss or gradient was not finite
    skipped_in_a_row: jax.Array  # int32 scalar: consecutive skipped updates up to now


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """Options of a train step: accumulation, frozen parameters, the reported rate, skipping."""

    accumulate: int = 1  # micro-batches that a batch is split into, one after the other
    freeze: tuple[str, ...] = ()  # patterns of parameters that do not train, as in the optimizer
    learning_rate: optax.Schedule | None = None  # the optimizer's, to be reported
    max_skipped: int = 10  # after this many consecutive skipped steps, all steps are skipped


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """Returns the state of a new run with parameters `params`."""
    # A parameter such as `jnp.log(2.0)` is weakly typed until the first step. The second one would
    # be compiled again.
    params = jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), params)
    ema = jax.tree.map(jnp.copy, params)
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, ema, optimizer.init(params), zero, zero)


def make_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    options: StepOptions = StepOptions(),
) -> Callable[[TrainState, Params, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns the step function `(state, frozen, batch, key) -> (state, metrics)`, to be jitted.

    `key` is the key of the run. The key of each sample is folded from it, the step and the sample's
    position in the batch. So a resumed run draws the same numbers as an uninterrupted one, and a
    batch in micro-batches the same as the whole batch.

    A step whose loss, gradient or new parameters are not finite changes only the step counter and
    the counts of skipped steps. After `options.max_skipped` consecutive skipped steps, all later
    steps are skipped too. So the state remains that from before the first of them, even if
    `skipped_in_a_row` is checked later.

    Raises:
        UserError: `options.accumulate` is below 1, or above 1 with a task whose loss couples the
            samples of a batch.
    """
    _check_accumulation(task, options.accumulate)
    freeze = options.freeze

    def step(
        state: TrainState, frozen: Params, batch: Batch, key: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        keys_B = _sample_keys(key, state.step, batch)
        old = _Trained(
            trainable(freeze, state.params), trainable(freeze, state.ema), state.opt_state
        )

        def loss_fn(trained: Params, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Metrics]:
            return task.loss(with_frozen(trained, state.params), frozen, batch, keys_B)

        loss, metrics, grads = _gradient(loss_fn, old.params, batch, keys_B, options.accumulate)
        new = _updated(optimizer, ema_decay, state.step, old, grads)
        own = {
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "param_norm": optax.tree.norm(new.params),
        }
        stuck = state.skipped_in_a_row >= options.max_skipped
        taken = jnp.isfinite(jnp.stack(list(own.values()))).all() & ~stuck
        new_state = _next_state(state, old, new, taken)
        if options.learning_rate is not None:
            own["learning_rate"] = jnp.asarray(options.learning_rate(state.step - state.skipped))
        own |= {name: getattr(new_state, name) for name in ("skipped", "skipped_in_a_row")}
        return new_state, {**own, **{name: as_scalar(value) for name, value in metrics.items()}}

    return step


def _check_accumulation(task: Task, accumulate: int) -> None:
    if accumulate < 1:
        raise UserError(f"accumulate is {accumulate}, expected 1 or more")
    if accumulate > 1 and (reason := getattr(task, "couples_samples", "")):
        raise UserError(f"accumulate is {accumulate}, but {reason}: use 1")


def _next_state(
    state: TrainState, old: "_Trained", new: "_Trained", taken: jax.Array
) -> TrainState:
    """Returns the state after a step: `new` if the step is `taken`, otherwise `old`."""
    kept = jax.tree.map(lambda new, old: jnp.where(taken, new, old), new, old)
    return TrainState(
        step=state.step + 1,
        params=with_frozen(kept.params, state.params),
        ema=with_frozen(kept.ema, state.ema),
        opt_state=kept.opt_state,
        skipped=state.skipped + ~taken,
        skipped_in_a_row=jnp.where(taken, 0, state.skipped_in_a_row + 1),
    )


def state_shapes(
    task: Task, optimizer: optax.GradientTransformation, mesh: Mesh, config: MeshConfig
) -> TrainState:
    """Returns the shapes of a fresh state, each with its sharding on `mesh`."""

    shapes = jax.eval_shape(lambda: init_state(optimizer, task.init(jax.random.key(0))))
    shardings = sharding.state_shardings(mesh, shapes, shapes.params, config)
    return sharding.with_shardings(shapes, shardings)


def jit_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    options: StepOptions,
    mesh: Mesh,
    shapes: TrainState,
) -> Any:
    """Returns the step of `make_step`, jitted for the shardings of `shapes`; donates the state."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    return jax.jit(
        make_step(task, optimizer, ema_decay, options),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def as_scalar(metric: jax.Array | Mean) -> jax.Array:
    """Returns a task's metric as one number; NaN for a mean over no samples."""
    return metric.total / metric.count if isinstance(metric, Mean) else metric


class _Trained(NamedTuple):
    """The part of the state that an update changes, without frozen parameters."""

    params: Params
    ema: Params
    opt_state: optax.OptState


def _updated(
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    step: jax.Array,
    old: _Trained,
    grads: Params,
) -> _Trained:
    updates, opt_state = optimizer.update(grads, old.opt_state, old.params)
    params = optax.apply_updates(old.params, updates)
    # The average covers few steps at first, to forget the initial weights; later it covers more.
    decay = jnp.minimum(ema_decay, (1.0 + step) / (10.0 + step))
    ema = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, old.ema, params)
    return _Trained(params, ema, opt_state)


def _sample_keys(key: jax.Array, step: jax.Array, batch: Batch) -> jax.Array:
    size = jax.tree.leaves(batch)[0].shape[0]
    step_key = jax.random.fold_in(key, step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, jnp.arange(size))


def _gradient(
    loss_fn: Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]],
    trained: Params,
    batch: Batch,
    keys_B: jax.Array,
    accumulate: int,
) -> tuple[jax.Array, Metrics, Params]:
    """Returns loss, metrics and gradient of a batch, as means over equal micro-batches."""
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    if accumulate == 1:
        (loss, metrics), grads = grad_fn(trained, batch, keys_B)
        return loss, metrics, grads

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % accumulate:
            raise UserError(
                f"a batch of {x.shape[0]} is not divisible by accumulate, which is {accumulate}"
            )
        # A micro-batch contains every accumulate-th sample. Each device takes its share of it from
        # its own share of the batch, so nothing moves between devices.
        return x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1)

    def add(sums: Params, inputs: tuple[Batch, jax.Array]) -> tuple[Params, Any]:
        value, grads = grad_fn(trained, *inputs)
        return jax.tree.map(jnp.add, sums, grads), value

    zeros = jax.tree.map(jnp.zeros_like, trained)
    sums, (losses, metrics) = jax.lax.scan(add, zeros, jax.tree.map(split, (batch, keys_B)))
    grads = jax.tree.map(lambda x: x / accumulate, sums)
    merged = {name: _over_micro_batches(value) for name, value in metrics.items()}
    return losses.mean(), merged, grads


def _over_micro_batches(metric: jax.Array | Mean) -> jax.Array | Mean:
    """Combines a metric that is stacked over micro-batches into that of the batch."""
    if isinstance(metric, Mean):
        return Mean(metric.total.sum(axis=0), metric.count.sum(axis=0))
    return metric.mean(axis=0)
