"""Stopping at a signal: SIGTERM, which clusters send before they take a machine away, or Ctrl-C."""

import contextlib
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from videogen_jax.training.processes.distributed import is_main

_log = logging.getLogger(__name__)

_INTERRUPTED = 130  # exit status after a SIGINT, by the convention of shells: 128 + its number
_AFTER_CTRL_C = (
    b"\nstopping after this step, with a checkpoint; press Ctrl-C again to end without one\n"
)


class Preempted(SystemExit):
    """Training stopped at a signal, with a checkpoint.

    The program exits with status 0 after a SIGTERM and 130 after a Ctrl-C, so that a script that
    calls it does not go on.
    """

    def __init__(self, step: int, status: int = 0):
        super().__init__(status)
        self.step = step


class Notice:
    """Whether a signal to stop has arrived; all processes agree on the step at which they stop."""

    def __init__(self):
        self._came = self._interrupted = False

    @property
    def came(self) -> bool:
        """Whether this process has received a signal; of several processes, whether all know."""
        return self._came

    @property
    def status(self) -> int:
        """The exit status of this process when it stops."""
        return _INTERRUPTED if self._interrupted else 0

    @property
    def signal_name(self) -> str:
        """The name of the signal, for messages."""
        return "Ctrl-C" if self._interrupted else "SIGTERM"

    def take(self, *_: object) -> None:
        """Handles a SIGTERM in a run on one process."""
        self._came = True

    def interrupt(self, *_: object) -> None:
        """Handles a Ctrl-C.

        Raises:
            KeyboardInterrupt: it is the second one.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        # Not `print`, which fails if the signal has interrupted another one.
        with contextlib.suppress(OSError):  # nobody reads stderr
            os.write(2, _AFTER_CTRL_C)
        if jax.distributed.is_initialized():
            os.kill(os.getpid(), signal.SIGTERM)  # JAX's handler informs the other processes
        else:
            self._came = True

    def reached(self, step: int) -> bool:
        """Returns True if training has to stop after `step`; every process calls it every step."""
        # JAX's runtime for several processes has its own handler, which `take` would replace.
        if jax.distributed.is_initialized():
            self._came = multihost_utils.reached_preemption_sync_point(step)
        return self._came


@contextlib.contextmanager
def listening() -> Iterator[Notice]:
    """Records a SIGTERM or a first Ctrl-C within the block in a `Notice`.

    In another thread than the main one it records nothing, because Python calls the handlers of
    signals in the main thread only.
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    handlers = {}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for a shell's background job
        handlers[signal.SIGINT] = notice.interrupt
    if not jax.distributed.is_initialized():
        handlers[signal.SIGTERM] = notice.take
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say_how_to_continue(notice: Notice, step: int, steps: int) -> None:
    """Prints the command line that continues the run, in the main process."""
    if is_main():
        _log.info(
            "stopped by %s: the checkpoint of step %d of %d is written; the same command line "
            "continues: %s",
            notice.signal_name,
            step,
            steps,
            shlex.join(sys.orig_argv),
        )
