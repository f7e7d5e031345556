"""Being told to stop: SIGTERM, which clusters send before they take a machine away."""

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
    """Training stopped with a checkpoint because it was told to; ends a program with status 0."""

    def __init__(self, step: int):
        super().__init__(0)
        self.step = step


class Notice:
    """Whether a notice has come, for all processes at the same step."""

    def __init__(self):
        self._came = False

    def take(self, *_: object) -> None:
        """The signal handler of a process on its own."""
        self._came = True

    def reached(self, step: int) -> bool:
        """True once training has to stop after `step`; every process asks at every step."""
        # JAX's runtime for several processes has a handler of its own, which this one would replace.
        if jax.distributed.is_initialized():
            return multihost_utils.reached_preemption_sync_point(step)
        return self._came


@contextlib.contextmanager
def listening() -> Iterator[Notice]:
    """Turns SIGTERM into a notice within the block."""
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
    """Prints, in process 0, what the run was started with."""
    if is_main():
        _log.info(
            "told to stop: the checkpoint of step %d of %d is written; the same command line "
            "continues: %s",
            step,
            steps,
            shlex.join(sys.orig_argv),
        )
