"""A training step, with all weights zero, beside the loader that feeds it."""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from videogen_jax import sharding
from videogen_jax.data.loader import make_loader
from videogen_jax.pipeline.components import component_shapes
from videogen_jax.training.assembly import Parts, assemble_task
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.run import make_source, step_options
from videogen_jax.training.runs import RUNS, RunConfig
from videogen_jax.training.step import jit_step, state_shapes
from videogen_jax.training.task import Task


def step(
    directory: tyro.conf.Positional[Path],
    /,
    preset: str = "small-stage-1",
    batch_size: int = 2,
    fps: float = 8.0,
    steps: int = 4,
) -> None:
    """Prints the seconds of a step, what it waited for its batch, and the batch's processor time.

    All weights are zero, which takes as long as others.

    Args:
        directory: of the dataset.
        preset: of a run of a stage, with its own window.
        batch_size: clips of a step.
        fps: of the windows.
        steps: that are measured, after one that compiles.
    """
    run = RUNS[preset]
    data = replace(run.data, dataset=str(directory), fps=fps)
    config = replace(run, data=data, batch_size=batch_size)
    source = make_source(config, "train")
    processor = _processor_seconds(make_loader(source, batch_size, 0, num_threads=0), 8)
    batches = make_loader(source, batch_size, 0)
    update, state, key = *_step(config), jax.random.key(0)
    tokens_BT = np.zeros((batch_size, config.model.text_encoder.max_length), np.int32)
    waits, lengths = [], []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        batch = {**next(batches), "tokens": tokens_BT}
        waits.append(time.perf_counter() - begin)
        state, metrics = update(state, batch, key)
        jax.block_until_ready(metrics)
        lengths.append(time.perf_counter() - begin)
    length, wait = median(lengths[1:]), median(waits[1:])
    print(f"{preset}, {batch_size} windows {data.num_frames}x{data.resolution}x{data.resolution}:")
    print(f"  step {length:.2f} s ({min(lengths[1:]):.2f} to {max(lengths[1:]):.2f})")
    print(f"  waits {1000 * wait:.1f} ms for its batch, {100 * wait / length:.2f} %")
    share = 100 * processor / length
    print(f"  the batch takes {1000 * processor:.1f} ms of processor, {share:.2f} % of a step")


def _processor_seconds(batches: Any, count: int) -> float:
    next(batches)
    begin = time.process_time()
    for _ in range(count):
        next(batches)
    return (time.process_time() - begin) / count


def _step(config: RunConfig) -> tuple[Any, Any]:
    """The compiled update and the state that it begins with."""
    task = _task(config)
    optimizer = make_optimizer(config.optim, config.steps)
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    shapes = state_shapes(task, optimizer, mesh, config.mesh)
    update = jit_step(task, optimizer, config.loop.ema_decay, step_options(config), mesh, shapes)
    return update, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _task(config: RunConfig) -> Task:
    components = component_shapes(config.model)
    parts = Parts(
        null_tokens_T=np.zeros(config.model.text_encoder.max_length, np.int32),
        load=lambda name: jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), components[name]
        ),
        start=lambda name: None,
        examples=lambda number: {},
        sheet=lambda frozen: _no_sheet,
    )
    return assemble_task(config, parts)


def _no_sheet(*_: Any) -> np.ndarray:
    raise NotImplementedError("no samples are drawn")
