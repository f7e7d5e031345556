"""Training steps of `paper`'s parts at the largest batch that fits: time, MFU, memory."""

import dataclasses
import math
import statistics
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.accelerator import planned
from benchmarks.accelerator.measure import (
    Compiled,
    compiled,
    memory_limit,
    process_peak_gib,
    random_like,
)
from benchmarks.accelerator.results import Report, first_lines
from videogen_jax import layout, sharding
from videogen_jax.configs import RUNS
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.planning.batch_search import search_batch
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.runs.train import step_options
from videogen_jax.training.step import init_state, make_step
from videogen_jax.training.task import Task

PARTS = ("stage-1", "stage-2", "stage-3", "refiner", "video-decoder")
_GIB = 2**30
_TRIES, _MARGIN = 4, 0.97  # a batch that needs more than this share of the memory is not run
_RESERVE = 60.0  # seconds for a part, to compile and time one batch
_CPU_LIMIT = 2.0**31  # bytes, in a dry run


@dataclasses.dataclass(frozen=True)
class Tried:
    """A batch that was compiled and, if it fits, run."""

    batch: int
    total: float  # bytes, as reported by the compiler
    fits: bool
    seconds: float = math.nan  # time of a step


class Step(NamedTuple):
    """A part's training step, compiled for a batch."""

    task: Task
    optimizer: Any
    batch: Any  # its shapes
    program: Compiled


def run(report: Report) -> None:
    """Adds the tables `steps` (every batch tried) and `largest` (one batch for each part)."""
    presets = ["tiny-flow"] if report.dry_run else [f"paper-{part}" for part in PARTS]
    for later, preset in zip(reversed(range(len(presets))), presets, strict=True):
        reserve = _RESERVE * (1 + later)
        report.attempt(preset, largest_batch, report, preset, reserve, needs=_RESERVE)


def largest_batch(report: Report, preset: str, reserve: float) -> None:
    """Searches for the largest batch, starting from the predicted one, and adds its row.

    Another batch is compiled only while more than `reserve` seconds are left.
    """
    limit = (memory_limit() or _CPU_LIMIT) * _MARGIN
    first = planned_batch(preset, limit)

    def attempt(batch: int) -> Tried:
        if batch == first or report.left() >= reserve:
            return try_batch(report, preset, batch, limit)
        report.note(f"{preset}, batch {batch}: not tried, {report.left():.0f} s were left")
        return Tried(batch, math.nan, False)

    found, refused = search_batch(attempt, first, limit, max_tries=1 if report.dry_run else _TRIES)
    if found is None:
        report.fail(preset, f"no batch fits, the smallest tried is {refused}")
        return
    report.add(
        "largest",
        run=preset,
        batch=found.batch,
        refused=None if refused is None else refused.batch,
        ms=found.seconds * 1e3,
        clips_per_second=found.batch / found.seconds,
        compiler_gib=found.total / _GIB,
        process_peak_gib=process_peak_gib(),
        planned_gib=in_gib(planned_bytes(preset, found.batch)),
    )


def compiled_step(preset: str, batch: int) -> Step:
    """Compiles the step of a run of `paper` or `tiny` for a batch, on one device."""
    config = dataclasses.replace(RUNS[preset], batch_size=batch)
    task, optimizer = abstract_task(config), make_optimizer(config.optim, config.steps)
    with layout.activate(sharding.make_mesh(config.mesh, jax.devices()[:1])):
        step = make_step(task, optimizer, config.loop.ema_decay, step_options(config))
        shapes = jax.eval_shape(lambda: init_state(optimizer, task.init(jax.random.key(0))))
        key = jax.eval_shape(lambda: jax.random.key(0))
        args = shapes, task.frozen, batch_shapes(config), key
        return Step(task, optimizer, batch_shapes(config), compiled(step, *args, donate_argnums=0))


def try_batch(report: Report, preset: str, batch: int, limit: float) -> Tried:
    """Compiles the step for a batch, times it if it fits, and adds a row to `steps`."""
    step = compiled_step(preset, batch)
    program = step.program
    row: dict[str, Any] = {
        "run": preset, "batch": batch, "compile_seconds": program.seconds,
        "compiler_gib": program.peak / _GIB, "tflop": program.flops / 1e12,
    }  # fmt: skip
    if program.peak > limit:
        report.add("steps", **row, ms=None, tflops=None, mfu=None, loss=None)
        return Tried(batch, program.peak, False)
    try:
        seconds, loss = timed(step)
    except jax.errors.JaxRuntimeError as error:  # out of memory
        report.note(f"{preset}, batch {batch}: {first_lines(error)}")
        return Tried(batch, program.peak, False)
    if not math.isfinite(loss):
        report.fail(f"{preset}, batch {batch}", "the loss is not finite")
    tflops, ceiling = program.flops / seconds / 1e12, report.ceiling("tflops")
    mfu = tflops / ceiling if ceiling else None
    report.add("steps", **row, ms=seconds * 1e3, tflops=tflops, mfu=mfu, loss=loss)
    return Tried(batch, program.peak, True, seconds)


def timed(step: Step) -> tuple[float, float]:
    """Returns the seconds of a step, which donates its state, and the last loss."""
    params = jax.device_put(random_like(jax.eval_shape(step.task.init, jax.random.key(0))))
    init = jax.jit(lambda params: init_state(step.optimizer, params), donate_argnums=0)
    state = init(params)
    frozen, batch = jax.device_put((random_like(step.task.frozen), random_like(step.batch)))
    key, metrics, times = jax.random.key(0), {}, []
    began = time.perf_counter()
    # The first step may allocate. Small steps are repeated, large ones take seconds.
    while len(times) < 3 or (sum(times) < 0.5 and len(times) < 50):
        state, metrics = step.program.run(state, frozen, batch, key)
        jax.block_until_ready(metrics["loss"])
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(times[1:]), float(np.asarray(metrics["loss"]))


def planned_bytes(preset: str, batch: int) -> float | None:
    """Returns the memory predicted by `train.plan` in bytes, see `planned.line`."""
    line = planned.line(preset)
    return None if line is None else line[0] + batch * line[1]


def planned_batch(preset: str, limit: float) -> int:
    """Returns the largest batch predicted to fit; 1 without predictions."""
    line = planned.line(preset)
    return 1 if line is None or line[1] <= 0 else max(1, int((limit - line[0]) / line[1]))


def in_gib(size: float | None) -> float | None:
    return None if size is None else size / _GIB
