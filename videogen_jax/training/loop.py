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

from videogen_jax import sharding
from videogen_jax.training.checkpoint import Checkpoints
from videogen_jax.training.metrics import MetricsWriter
from videogen_jax.training.step import StepOptions, TrainState, init_state, make_step
from videogen_jax.training.task import Task

Scalars = dict[str, jax.Array]
SKIPPED = ("skipped", "skipped_in_a_row")  # counts among a step's metrics


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long a run is and how often it tells of itself; all counts are in steps."""

    ema_decay: float = 0.9999
    log_every: int = 50
    sample_every: int = 1000  # 0: no sample sheets
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    max_skipped: int = 10  # steps in a row with a loss or gradient that is not finite: then stop


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
    options: StepOptions = StepOptions(),
) -> TrainState:
    """Trains up to `steps` steps in all, continuing from the run directory's newest checkpoint.

    The same call on the same directory resumes: parameters, average, optimizer, data order and
    randomness go on as if uninterrupted.

    Raises:
        FloatingPointError: `config.max_skipped` steps in a row had a loss or gradient that is not
            finite. It is found out at the next step logged or checkpointed; until then nothing
            changes any more, and no checkpoint is written.
    """
    options = dataclasses.replace(options, max_skipped=config.max_skipped)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(
            Checkpoints(run_dir / "checkpoints", config.keep_checkpoints)
        )
        writer = stack.enter_context(MetricsWriter(run_dir))
        state, shardings = _begin(task, optimizer, mesh, checkpoints, data, seed)
        frozen = jax.device_put(task.frozen, sharding.tree_shardings(mesh, task.frozen))
        step_fn = jax.jit(
            make_step(task, optimizer, config.ema_decay, options),
            donate_argnums=0,
            out_shardings=(shardings, sharding.replicated(mesh)),
        )
        key = jax.random.key(seed)
        first = int(state.step)
        progress = tqdm(range(first, steps), initial=first, total=steps, desc=run_dir.name)
        log = _Log(writer, progress, config.max_skipped)
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
    checkpoints: Checkpoints,
    data: grain.DatasetIterator,
    seed: int,
) -> tuple[TrainState, Any]:
    """The newest checkpoint's state, or a fresh one; either way created sharded."""

    def create(key: jax.Array) -> TrainState:
        return init_state(optimizer, task.init(key))

    abstract = jax.eval_shape(create, jax.random.key(seed))
    shardings = sharding.tree_shardings(mesh, abstract)
    step = checkpoints.latest_step()
    if step is not None:
        like = jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            abstract,
            shardings,
        )
        print(f"resuming from the checkpoint of step {step}")
        return checkpoints.restore(step, like, data), shardings
    params_init = jax.jit(task.init, out_shardings=shardings.params)
    params = task.warm_start(params_init(jax.random.key(seed)))
    params = jax.device_put(params, shardings.params)
    wrap = jax.jit(lambda params: init_state(optimizer, params), out_shardings=shardings)
    return wrap(params), shardings


class _Log:
    """Writes the metrics of one step in every `every`, fetched a step late to keep devices busy."""

    def __init__(self, writer: MetricsWriter, progress: tqdm, max_skipped: int):
        self._writer, self._progress, self._max_skipped = writer, progress, max_skipped
        self._pending: tuple[int, Scalars] | None = None
        self._newest: tuple[int, Scalars] | None = None
        self._skipped = 0
        self._since = time.perf_counter(), progress.initial

    def step(self, done: int, metrics: Scalars, every: int) -> None:
        self._write()
        self._newest = done, metrics
        if done % every == 0:
            self._pending = done, metrics

    def flush(self) -> None:
        """Writes what is pending and looks at the newest step; waits for its result.

        Raises:
            FloatingPointError: too many steps in a row were skipped.
        """
        self._write()
        if self._newest is not None:
            self._check(*self._newest)

    def _check(self, step: int, metrics: Scalars) -> None:
        skipped, in_a_row = (
            int(value) for value in jax.device_get([metrics[name] for name in SKIPPED])
        )
        if in_a_row >= self._max_skipped:
            raise FloatingPointError(
                f"loss or gradient not finite in {in_a_row} steps in a row, up to step {step}; "
                f"the last checkpoint is from before them (loop.max_skipped is {self._max_skipped})"
            )
        if skipped > self._skipped:
            self._progress.write(
                f"step {step}: {skipped} updates skipped so far, loss or gradient not finite"
            )
        self._skipped = skipped

    def _write(self) -> None:
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        self._check(step, metrics)
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        now, (then, before) = time.perf_counter(), self._since
        self._since = now, step
        # A quarter of the timesteps that a small batch has no sample of has no error either.
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        values["steps_per_second"] = (step - before) / (now - then)
        self._writer.scalars(step, values)
        self._progress.set_postfix(loss=f"{values.get('loss', math.nan):.4f}")
