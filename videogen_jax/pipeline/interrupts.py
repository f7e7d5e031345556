"""Ctrl-C while sampling: a signal handler sets a flag, and the step loop reads it.

Python raises `KeyboardInterrupt` wherever the main thread is. Inside JAX's callback of the garbage
collector such an exception is printed and ignored, and sampling goes on. A flag is never lost.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_requested = threading.Event()


class StopSampling(Exception):  # noqa: N818 (as StopIteration)
    """Raise it in a callback to end a call; the call raises it again."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises `KeyboardInterrupt` for a Ctrl-C within the block, at `check` or at the end.

    A second Ctrl-C raises at once, as without the block. There is no effect outside of the main
    thread, which alone receives signals, and none if the program handles SIGINT itself.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _requested.clear()
    signal.signal(signal.SIGINT, _request)
    try:
        yield
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _requested.clear()


def check() -> None:
    """Raises `KeyboardInterrupt` after a Ctrl-C in the main thread's block of `interruptible`."""
    if _requested.is_set() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _request(number: int, frame: object) -> None:
    if _requested.is_set():
        raise KeyboardInterrupt
    _requested.set()
