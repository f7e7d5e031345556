"""The first state of a run: its newest checkpoint, another run's weights, or fresh parameters."""

import logging
from pathlib import Path
from typing import Any

import jax
import optax

from videogen_jax import sharding
from videogen_jax.data.loader import Batches
from videogen_jax.training.checkpoints.checkpoints import Checkpoints
from videogen_jax.training.checkpoints.files import find_checkpoint, read_weights
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.step import TrainState, init_state
from videogen_jax.training.task import Params, Task

_log = logging.getLogger(__name__)


def begin(
    task: Task,
    optimizer: optax.GradientTransformation,
    shapes: TrainState,
    checkpoints: Checkpoints,
    data: Batches,
    seed: int,
    init_from: Path | None,
) -> TrainState:
    """Returns the newest checkpoint's state, or a fresh one. Both are created sharded.

    Args:
        task: the task that trains.
        optimizer: its optimizer.
        shapes: shapes of the state, with shardings; see `step.state_shapes`.
        checkpoints: checkpoints of the run.
        data: batches of the run, which are moved to the position in the checkpoint.
        seed: of a fresh initialisation.
        init_from: a run directory or checkpoint whose averaged parameters a new run starts from.
    """
    step = checkpoints.latest_step()
    if step is not None:
        if is_main():
            _log.info("resuming from the checkpoint of step %d", step)
        return checkpoints.restore(step, shapes, data)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    if init_from is not None:
        source = find_checkpoint(init_from)
        if is_main():
            _log.info("starting from the averaged weights of %s", source)
        params = read_weights(source, "ema", shapes.params)
    else:
        params = _first_params(task, shapes.params, shardings.params, seed)
    wrap = jax.jit(lambda params: init_state(optimizer, params), out_shardings=shardings)
    return wrap(params)


def _first_params(task: Task, shapes: Params, shardings: Any, seed: int) -> Params:
    """Returns the parameters of a new run: those of the warm start, and fresh ones for the others.

    Only the others are drawn. Compiling takes about a tenth of a second per drawn parameter on a
    CPU, and all of them would need the memory of a second copy.
    """
    started, structure = jax.tree.flatten(task.warm_start(shapes))
    wanted = jax.tree.leaves(shardings)
    new = [i for i, leaf in enumerate(started) if isinstance(leaf, jax.ShapeDtypeStruct)]

    def draw(key: jax.Array) -> list[jax.Array]:
        leaves = jax.tree.leaves(task.init(key))  # the compiler removes the others as dead code
        return [leaves[i] for i in new]

    if new:
        fresh = jax.jit(draw, out_shardings=[wanted[i] for i in new])(jax.random.key(seed))
        for i, leaf in zip(new, fresh, strict=True):
            started[i] = leaf
    return sharding.put_tree(jax.tree.unflatten(structure, started), shardings)
