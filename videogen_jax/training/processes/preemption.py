"""Stopping at a SIGTERM, which clusters send before they take a machine away."""

import contextlib
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from videogen_jax.training.processes.distributed import is_main

_log = logging.getLogger(__name__)


class Preempted(SystemExit):
    """Training stopped at a SIGTERM, with a checkpoint; the program exits with status 0."""

    def __init__(self, step: int):
        super().__init__(0)
        self.step = step


class Notice:
    """Whether a SIGTERM has arrived; all processes agree on the step at which they stop."""

    def __init__(self):
        self._came = False

    def take(self, *_: object) -> None:
        """Handles the signal in a run on one process."""
        self._came = True

    def reached(self, step: int) -> bool:
        """Returns True if training has to stop after `step`; every process calls it every step."""
        # JAX's runtime for several processes has its own handler, which `take` would replace.
        if jax.distributed.is_initialized():
            return multihost_utils.reached_preemption_sync_point(step)
        return self._came


@contextlib.contextmanager
def listening() -> Iterator[Notice]:
    """Records a SIGTERM within the block in a `Notice`."""
    notice = Notice()
    alone = not jax.distributed.is_initialized()
    if not alone or threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = signal.signal(signal.SIGTERM, notice.take)
    try:
        yield notice
    finally:
        signal.signal(signal.SIGTERM, before)


def say_how_to_continue(step: int, steps: int) -> None:
    """Prints the command line that continues the run, in the main process."""
    if is_main():
        _log.info(
            "stopped by SIGTERM: the checkpoint of step %d of %d is written; the same command "
            "line continues: %s",
            step,
            steps,
            shlex.join(sys.orig_argv),
        )
