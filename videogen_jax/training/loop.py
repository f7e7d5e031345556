"""The training loop: restore or initialise, then step, log, sample and checkpoint."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from videogen_jax import layout, sharding
from videogen_jax.data.loader import Batches
from videogen_jax.kernels import choices
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.begin import begin
from videogen_jax.training.checkpoints.checkpoints import Checkpoints
from videogen_jax.training.checkpoints.files import FOLDER
from videogen_jax.training.config import VALIDATION_PREFIX, LoopConfig
from videogen_jax.training.processes import preemption
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.samples import draw_samples
from videogen_jax.training.step import StepOptions, TrainState, jit_step, state_shapes
from videogen_jax.training.task import Task
from videogen_jax.training.telemetry.flops import count_flops
from videogen_jax.training.telemetry.metrics_writer import MetricsWriter, NoMetrics
from videogen_jax.training.telemetry.profiler import Profiler
from videogen_jax.training.telemetry.run_log import RunLog
from videogen_jax.training.telemetry.throughput import Meter, StepCost, step_cost
from videogen_jax.training.validation import Validation

_log = logging.getLogger(__name__)


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
    options: StepOptions = StepOptions(),
    profile: tuple[int, int] | None = None,
    init_from: Path | None = None,
    validation: Validation | None = None,
    about: Mapping[str, Any] | None = None,
    begun: Callable[[], None] = lambda: None,
) -> TrainState:
    """Trains up to `steps` steps in total, continuing from the run directory's newest checkpoint.

    The same call on the same directory resumes: parameters, average, optimizer, data order and
    randomness continue as if uninterrupted. In a run on several processes, every process makes this
    call and one of them writes. `mesh_config` decides how parameters are placed on `mesh`.
    `profile` contains the first and last step to trace.

    A new run starts from the averaged parameters of `init_from`, a run directory or a checkpoint,
    unless it is None. `validation` computes metrics at the start of a new run, every
    `config.validate_every` steps and after the last one. `about` is saved in every checkpoint.
    `begun` is called once: after the first step, when everything has proved to work, or when there
    is no step to do.

    Raises:
        Preempted: after a SIGTERM or Ctrl-C, once a checkpoint is written; the program exits with
            status 0 or 130.
        KeyboardInterrupt: after a second Ctrl-C, without a checkpoint.
        UserError: no checkpoint is intact, or the last one could not be written.
        Diverged: `config.max_skipped` consecutive steps had a loss or gradient that is not finite.
            This is detected at the next step that is logged or checkpointed. Until then no step
            changes the parameters, and no checkpoint is written.
    """
    meter, main = Meter(), is_main()
    with contextlib.ExitStack() as stack:
        stack.enter_context(layout.activate(mesh))
        checkpoints = stack.enter_context(_checkpoints(run_dir, config, about))
        notice = stack.enter_context(preemption.listening())
        profiler = stack.enter_context(Profiler(run_dir / "profile", profile if main else None))
        with meter.spend("start"):
            shapes = state_shapes(task, optimizer, mesh, mesh_config)
            state = begin(task, optimizer, shapes, checkpoints, data, seed, init_from)
            frozen = sharding.put_tree(task.frozen, sharding.tree_shardings(mesh, task.frozen))
        writer = stack.enter_context(MetricsWriter(run_dir) if main else NoMetrics())
        options = dataclasses.replace(options, max_skipped=config.max_skipped)
        step_fn = jit_step(task, optimizer, config.ema_decay, options, mesh, shapes)
        key, first = jax.random.key(seed), int(state.step)
        progress = _progress_bar(run_dir.name, first, steps)
        log = RunLog(writer, progress, meter, first, config.max_skipped)
        first_step = functools.partial(_first_step, step_fn, mesh, meter, log, begun)
        validate = validation and functools.partial(validation, frozen=frozen)
        results = _Results(task, config, data, steps, seed, log, checkpoints, notice, validate)
        results.begin(first, state)
        for step, batch in zip(progress, meter.waiting(_batches(data, mesh)), strict=False):
            profiler.before(step + 1, state)
            take = first_step if step == first else step_fn
            state, metrics = take(state, frozen, batch, key)
            log.step(step + 1, metrics, every=config.log_every)
            results.write(step + 1, state)
        results.end(first, begun)
    if main:
        _log.info("%s: %s", run_dir.name, meter)
    return state


def _first_step(
    step_fn: Any,
    mesh: Mesh,
    meter: Meter,
    log: RunLog,
    begun: Callable[[], None],
    state: TrainState,
    frozen: Any,
    batch: Any,
    key: jax.Array,
) -> tuple[TrainState, Any]:
    """Compiles a step, logs its cost, takes it and waits for it; then calls `begun`."""
    with meter.spend("compile"):
        with choices.recording() as kernels:
            traced = step_fn.trace(state, frozen, batch, key)
        if kernels and is_main():
            _log.info("  %-12s%s", "attention", "; ".join(choices.describe(kernels)))
        log.costs(_cost(traced, batch, mesh))
        state, metrics = jax.block_until_ready(step_fn(state, frozen, batch, key))
    begun()
    return state, metrics


def _checkpoints(run_dir: Path, config: LoopConfig, about: Mapping[str, Any] | None) -> Checkpoints:
    keep = (config.keep_checkpoints, config.keep_best, config.best)
    return Checkpoints(run_dir / FOLDER, *keep, about)


@dataclasses.dataclass(frozen=True)
class _Results:
    """The samples and checkpoints that a run writes between its steps."""

    task: Task
    config: LoopConfig
    data: Batches
    steps: int
    seed: int
    log: RunLog
    checkpoints: Checkpoints
    notice: preemption.Notice
    validate: Callable[[Any], dict[str, float]] | None  # of the averaged parameters

    def begin(self, first: int, state: TrainState) -> None:
        """Validates a new run, or one that was stopped at a step where it was due."""
        known = f"{VALIDATION_PREFIX}loss" in self.checkpoints.restored
        if first < self.steps and not known and self._validates(first):
            self._validate(first, state)

    def write(self, done: int, state: TrainState) -> None:
        """Writes what is due after `done` steps. Raises Preempted if a signal to stop has arrived.

        Validation comes first: its loss chooses the best checkpoint. A run that is stopping has no
        time for it. The checkpoint is complete before samples are drawn, because drawing them may
        need more memory than there is.
        """
        config, last = self.config, done == self.steps
        stopping = self.notice.reached(done) and not last
        due = stopping or done % config.checkpoint_every == 0 or last
        drawing = bool(config.sample_every) and (done % config.sample_every == 0 or last)
        validating = not stopping and self._validates(done)
        if due or drawing or validating:
            self.log.flush(newest=stopping or last)
        validated = self._validate(done, state) if validating else {}
        with self.log.meter.spend("checkpoint"):
            if due:
                self.checkpoints.save(done, state, self.data, self.log.means() | validated)
            self.checkpoints.hold(done, 0 if drawing else config.steps_during_save)
        if stopping:
            self.stop(done)
        if drawing:
            with self.log.meter.spend("samples"):
                draw_samples(self.task, state.ema, self.seed, done, self.log.writer)

    def _validates(self, done: int) -> bool:
        every = self.config.validate_every
        return bool(self.validate and every) and (done % every == 0 or done == self.steps)

    def _validate(self, done: int, state: TrainState) -> dict[str, float]:
        assert self.validate is not None
        with self.log.meter.spend("validation"):
            metrics = self.validate(state.ema)
        self.log.validation(done, metrics)
        return metrics

    def end(self, first: int, begun: Callable[[], None]) -> None:
        """Ends a run that began at step `first`. Raises Preempted if a signal to stop has come."""
        if first >= self.steps:
            begun()
        elif self.notice.came:  # in or after the last step: do not go on to another run
            self.stop(self.steps)

    def stop(self, done: int) -> NoReturn:
        """Raises Preempted once the checkpoint of step `done`, the last one, is complete."""
        self.checkpoints.finish()
        preemption.say_how_to_continue(self.notice, done, self.steps)
        raise preemption.Preempted(done, self.notice.status)


def _cost(traced_step: Any, batch: Mapping[str, jax.Array], mesh: Mesh) -> StepCost:
    flops = count_flops(traced_step.jaxpr.jaxpr)
    return step_cost(flops, batch, list(mesh.devices.flat))


def _progress_bar(name: str, first: int, steps: int) -> tqdm:
    return tqdm(range(first, steps), initial=first, total=steps, desc=name, disable=not is_main())


def _batches(data: Batches, mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    for batch in data:
        yield sharding.put_batch(mesh, batch)
