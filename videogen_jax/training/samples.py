"""Drawing the preview samples of a run, without which training can go on."""

import logging

import jax
from orbax.checkpoint import multihost

from videogen_jax.errors import first_line, user_message
from videogen_jax.training.processes.peers import is_lost_peer
from videogen_jax.training.task import Params, Task
from videogen_jax.training.telemetry.metrics_writer import MetricsWriter, NoMetrics

_log = logging.getLogger(__name__)

_TIMEOUT_MS = 10 * 60 * 1000
_NO_BUG = (MemoryError, jax.errors.JaxRuntimeError)  # a device or the host is out of memory


def draw_samples(
    task: Task, params: Params, seed: int, step: int, writer: MetricsWriter | NoMetrics
) -> None:
    """Draws and writes a task's samples; a failure is logged as a warning and raises nothing.

    A bug is logged with its traceback. Several processes draw together, so each waits for the
    others afterwards: if only some have failed and the others wait for them, the run ends.

    Args:
        task: the task that trains.
        params: parameters to draw with.
        seed: seed of the samples.
        step: number of steps done, for the file's name.
        writer: writer of the run directory.

    Raises:
        ValueError | RuntimeError: another process of the run is lost (see `peers.is_lost_peer`).
    """
    several = jax.process_count() > 1
    try:
        samples = task.samples(params, seed)
        if samples is not None:
            writer.samples(step, samples)
    except Exception as error:
        if several and is_lost_peer(error):
            raise
        known = user_message(error) is not None or isinstance(error, _NO_BUG)
        _log.warning(
            "the samples of step %d could not be drawn; training goes on (--loop.sample-every 0 "
            "draws none): %s",
            step,
            first_line(error),
            exc_info=None if known else error,
        )
    if several:
        wait = multihost.get_barrier_sync_fn()
        wait(key=f"samples.{step}", timeout_ms=_TIMEOUT_MS)
