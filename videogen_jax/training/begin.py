"""The first state of a run: its newest checkpoint, another run's weights, or fresh parameters."""

import logging
from pathlib import Path

import jax
import optax

from videogen_jax import sharding
from videogen_jax.data.loader import Batches
from videogen_jax.training.checkpoints.checkpoints import Checkpoints
from videogen_jax.training.checkpoints.files import find_checkpoint, read_weights
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.step import TrainState, init_state
from videogen_jax.training.task import Task

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
        params_init = jax.jit(task.init, out_shardings=shardings.params)
        params = task.warm_start(params_init(jax.random.key(seed)))
        params = sharding.put_tree(params, shardings.params)
    wrap = jax.jit(lambda params: init_state(optimizer, params), out_shardings=shardings)
    return wrap(params)
