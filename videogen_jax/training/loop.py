"""The one training loop: restore or begin, step, log, sample, checkpoint."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from videogen_jax import layout, sharding
from videogen_jax.data.loader import Batches
from videogen_jax.sharding import MeshConfig
from videogen_jax.training import preemption
from videogen_jax.training.checkpoint import Checkpoints
from videogen_jax.training.checkpoint_files import FOLDER, find_checkpoint, read_weights
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
    keep_checkpoints: int = 2  # the newest
    keep_best: int = 1  # and those with the lowest mean of best_metric since the one before
    best_metric: str = "loss"  # of those in metrics.jsonl


def train(
    task: Task,
    optimizer: optax.GradientTransformation,
    data: Batches,
    mesh: Mesh,
    config: LoopConfig,
    run_dir: Path,
    *,
    steps: int,
    seed: int,
    mesh_config: MeshConfig = MeshConfig(),
    init_from: Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> TrainState:
    """Trains up to `steps` steps in all, continuing from the run directory's newest checkpoint.

    The same call on the same directory resumes: parameters, average, optimizer, data order and
    randomness go on as if uninterrupted. Every process of a run on several makes this call; one of
    them writes. `mesh_config` says where parameters go on `mesh`.

    A new run starts from the averaged parameters of `init_from`, a run directory or a checkpoint, if
    given. `about` goes into every checkpoint.

    Raises:
        Preempted: after a SIGTERM, once a checkpoint is written; a program ends with status 0.
        ValueError: no checkpoint is intact, or the last one could not be written.
        FloatingPointError: if the loss stops being finite; the checkpoints before it are intact.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(layout.activate(mesh))
        checkpoints = stack.enter_context(
            Checkpoints(
                run_dir / FOLDER,
                config.keep_checkpoints,
                config.keep_best,
                config.best_metric,
                about,
            )
        )
        writer = stack.enter_context(MetricsWriter(run_dir) if is_main() else NoMetrics())
        notice = stack.enter_context(preemption.listening())
        state, shardings = _begin(
            task, optimizer, mesh, mesh_config, checkpoints, data, seed, init_from
        )
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
            told_to_stop = notice.reached(done)
            if done % config.checkpoint_every == 0 or last or told_to_stop:
                log.flush()
                checkpoints.save(done, state, data, log.means())
            if told_to_stop and not last:
                checkpoints.finish()
                preemption.say_how_to_continue(done, steps)
                raise preemption.Preempted(done)
    return state


def _batches(data: Batches, mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    for batch in data:
        yield sharding.put_batch(mesh, batch)


def _begin(
    task: Task,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    mesh_config: MeshConfig,
    checkpoints: Checkpoints,
    data: Batches,
    seed: int,
    init_from: Path | None,
) -> tuple[TrainState, Any]:
    """The newest checkpoint's state, or a fresh one; either way created sharded."""

    def create(key: jax.Array) -> TrainState:
        return init_state(optimizer, task.init(key))

    abstract = jax.eval_shape(create, jax.random.key(seed))
    shardings = sharding.state_shardings(mesh, abstract, abstract.params, mesh_config)
    like = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        abstract,
        shardings,
    )
    step = checkpoints.latest_step()
    if step is not None:
        if is_main():
            print(f"resuming from the checkpoint of step {step}")
        return checkpoints.restore(step, like, data), shardings
    if init_from is not None:
        source = find_checkpoint(init_from)
        if is_main():
            print(f"beginning with the averaged weights of {source}")
        params = read_weights(source, "ema", like.params)
    else:
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
        self._recent: dict[str, list[float]] = {}  # since the last checkpoint

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
        for name, value in values.items():
            self._recent.setdefault(name, []).append(value)
        self._progress.set_postfix(loss=f"{values['loss']:.4f}")

    def means(self) -> dict[str, float]:
        """The mean of each metric over what was written since the last call."""
        means = {name: sum(values) / len(values) for name, values in self._recent.items()}
        self._recent = {}
        return means
