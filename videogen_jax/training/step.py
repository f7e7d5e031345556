"""The train state and the one train step."""

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
    """All that training changes. `ema` is the running average of `params` that is sampled from."""

    step: jax.Array  # int32 scalar: steps done, skipped ones too
    params: Params
    ema: Params
    opt_state: optax.OptState
    skipped: jax.Array  # int32 scalar: updates left out because loss or gradient was not finite
    skipped_in_a_row: jax.Array  # int32 scalar: how many of them up to now without one between


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """What a step does beyond one batch, one gradient, one update."""

    accumulate: int = 1  # micro-batches that a batch is taken in, one after the other
    freeze: tuple[str, ...] = ()  # patterns of parameters that do not train, as the optimizer's
    learning_rate: optax.Schedule | None = None  # the optimizer's, to be reported
    max_skipped: int = 10  # after so many skipped steps in a row nothing changes any more


def init_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """A fresh state around `params`."""
    ema = jax.tree.map(jnp.copy, params)
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, ema, optimizer.init(params), zero, zero)


def make_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    options: StepOptions = StepOptions(),
) -> Callable[[TrainState, Params, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """The step function `(state, frozen, batch, key) -> (state, metrics)`, to be jitted.

    `key` is the run's. Every sample of the batch gets its own, folded from it, the step and the
    sample's place in the batch: a resumed run draws what an uninterrupted one does, and one batch
    in micro-batches what it does as a whole.

    A step whose loss, gradient or new parameters are not finite changes nothing but the step counter
    and the counts of skipped steps. Once `options.max_skipped` come in a row, all later steps are
    skipped too, so that whoever looks at `skipped_in_a_row` later finds the state from before the
    first of them.

    Raises:
        UserError: `options.accumulate` is below 1, or above it with a task whose loss couples the
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
    """The state after a step: `new` if the step is `taken`, else `old`."""
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
    """A fresh state as shapes, each with the sharding that it is created with on `mesh`."""

    shapes = jax.eval_shape(lambda: init_state(optimizer, task.init(jax.random.key(0))))
    shardings = sharding.state_shardings(mesh, shapes, shapes.params, config)
    return with_shardings(shapes, shardings)


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """A tree of shapes that say where their arrays lie."""
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes,
        shardings,
    )


def jit_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    options: StepOptions,
    mesh: Mesh,
    shapes: TrainState,
) -> Any:
    """`make_step`, jitted for a state that lies as `state_shapes` says; takes the state's memory."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    return jax.jit(
        make_step(task, optimizer, ema_decay, options),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def as_scalar(metric: jax.Array | Mean) -> jax.Array:
    """A metric of a task as one number; NaN for a mean over no sample."""
    return metric.total / metric.count if isinstance(metric, Mean) else metric


class _Trained(NamedTuple):
    """What an update changes, without what is frozen."""

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
    # A young average would remember the initial weights: it starts short and grows.
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
    """Loss, metrics and gradient of a batch, as the means over equal micro-batches."""
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    if accumulate == 1:
        (loss, metrics), grads = grad_fn(trained, batch, keys_B)
        return loss, metrics, grads

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % accumulate:
            raise UserError(
                f"a batch of {x.shape[0]} is not divisible by accumulate, which is {accumulate}"
            )
        # Every accumulate-th sample: each device takes its share of a micro-batch from its own
        # share of the batch, and nothing moves between devices.
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
    """A metric of every micro-batch, stacked, as that of the batch."""
    if isinstance(metric, Mean):
        return Mean(metric.total.sum(axis=0), metric.count.sum(axis=0))
    return metric.mean(axis=0)
