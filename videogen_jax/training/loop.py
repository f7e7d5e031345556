"""The one training loop: restore or begin, step, log, sample, checkpoint."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from videogen_jax import layout, sharding
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.checkpoint import Checkpoints
from videogen_jax.training.distributed import is_main
from videogen_jax.training.metrics import MetricsWriter, NoMetrics
from videogen_jax.training.step import TrainState, init_state, make_step
from videogen_jax.training.task import Metrics, Task


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long a run is and how often it tells of itself; all counts are in steps."""

    ema_decay: float = 0.9999
    log_every: int = 50
    sample_every: int = 1000  # 0: no sample sheets
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2


def train(
    task: Task,
    optimizer: optax.GradientTransformation,
    data: grain.DatasetIterator,
    mesh: Mesh,
    config: LoopConfig,
    run_dir: Path,
    *,
    steps: int,
    seed: int,
    mesh_config: MeshConfig = MeshConfig(),
) -> TrainState:
    """Trains up to `steps` steps in all, continuing from the run directory's newest checkpoint.

    The same call on the same directory resumes: parameters, average, optimizer, data order and
    randomness go on as if uninterrupted. Every process of a run on several makes this call; one of
    them writes. `mesh_config` says where parameters go on `mesh`.

    Raises:
        FloatingPointError: if the loss stops being finite; the checkpoints before it are intact.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(layout.activate(mesh))
        checkpoints = stack.enter_context(
            Checkpoints(run_dir / "checkpoints", config.keep_checkpoints)
        )
        writer = stack.enter_context(MetricsWriter(run_dir) if is_main() else NoMetrics())
        state, shardings = _begin(task, optimizer, mesh, mesh_config, checkpoints, data, seed)
        frozen = sharding.put_tree(task.frozen, sharding.tree_shardings(mesh, task.frozen))
        step_fn = jax.jit(
            make_step(task, optimizer, config.ema_decay),
            donate_argnums=0,
            out_shardings=(shardings, sharding.replicated(mesh)),
        )
        key = jax.random.key(seed)
        first = int(state.step)
        progress = tqdm(
            range(first, steps),
            initial=first,
            total=steps,
            desc=run_dir.name,
            disable=not is_main(),
        )
        log = _Log(writer, progress)
        for step, batch in zip(progress, _batches(data, mesh), strict=False):
            state, metrics = step_fn(state, frozen, batch, key)
            done = step + 1
            # The metrics logged are those of the step before: this step is already under way.
            log.step(done, metrics, every=config.log_every)
            last = done == steps
            if config.sample_every and (done % config.sample_every == 0 or last):
                sheet = task.sample_sheet(state.ema, seed)
                if sheet is not None:
                    writer.picture(done, sheet)
            if done % config.checkpoint_every == 0 or last:
                log.flush()
                checkpoints.save(done, state, data)
    return state


def _batches(data: grain.DatasetIterator, mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    for batch in data:
        yield sharding.put_batch(mesh, batch)


def _begin(
    task: Task,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    mesh_config: MeshConfig,
    checkpoints: Checkpoints,
    data: grain.DatasetIterator,
    seed: int,
) -> tuple[TrainState, Any]:
    """The newest checkpoint's state, or a fresh one; either way created sharded."""

    def create(key: jax.Array) -> TrainState:
        return init_state(optimizer, task.init(key))

    abstract = jax.eval_shape(create, jax.random.key(seed))
    shardings = sharding.state_shardings(mesh, abstract, abstract.params, mesh_config)
    step = checkpoints.latest_step()
    if step is not None:
        like = jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            abstract,
            shardings,
        )
        if is_main():
            print(f"resuming from the checkpoint of step {step}")
        return checkpoints.restore(step, like, data), shardings
    params_init = jax.jit(task.init, out_shardings=shardings.params)
    params = task.warm_start(params_init(jax.random.key(seed)))
    params = sharding.put_tree(params, shardings.params)
    wrap = jax.jit(lambda params: init_state(optimizer, params), out_shardings=shardings)
    return wrap(params), shardings


class _Log:
    """Writes the metrics of one step in every `every`, fetched a step late to keep devices busy."""

    def __init__(self, writer: MetricsWriter | NoMetrics, progress: tqdm):
        self._writer, self._progress = writer, progress
        self._pending: tuple[int, Metrics] | None = None
        self._since = time.perf_counter(), progress.n

    def step(self, done: int, metrics: Metrics, every: int) -> None:
        self.flush()
        if done % every == 0:
            self._pending = done, metrics

    def flush(self) -> None:
        """Writes what is pending; waits for that step's result.

        Raises:
            FloatingPointError: if its loss is not finite.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(f"loss is {values['loss']} at step {step}")
        now, (then, before) = time.perf_counter(), self._since
        self._since = now, step
        # A quarter of the timesteps that a small batch has no sample of has no error either.
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        values["steps_per_second"] = (step - before) / (now - then)
        self._writer.scalars(step, values)
        self._progress.set_postfix(loss=f"{values['loss']:.4f}")
