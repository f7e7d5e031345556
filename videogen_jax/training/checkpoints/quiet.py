"""Keeping Orbax's reports of a failed save out of the log: `Checkpoints` reports it in one line.

Orbax logs the same error with a traceback in each of its threads. Its unfinished writes then report
that their event loop is closed, one traceback for each array.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from videogen_jax.cli import traceback_wanted

_LOGGERS = ("absl", "asyncio")  # Orbax logs with absl, and asyncio about Orbax's coroutines


@contextlib.contextmanager
def without_save_errors() -> Iterator[None]:
    """Drops these reports within the block, unless the program was started with `--traceback`."""
    if traceback_wanted():
        yield
        return
    loggers, hook = [logging.getLogger(name) for name in _LOGGERS], sys.unraisablehook

    def quiet_hook(unraisable: Any) -> None:
        if not _is_of_a_closed_save(unraisable):
            hook(unraisable)

    for logger in loggers:
        logger.addFilter(_passes)
    sys.unraisablehook = quiet_hook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(_passes)


def _passes(record: logging.LogRecord) -> bool:
    """Returns False for an error that Orbax logs and raises, and for its unfinished coroutines."""
    if record.name == "asyncio":
        return "orbax" not in record.getMessage()
    return not (record.exc_info and "orbax" in record.pathname)


def _is_of_a_closed_save(unraisable: Any) -> bool:
    code = getattr(unraisable.object, "cr_code", None)
    closed = isinstance(unraisable.exc_value, RuntimeError) and (
        str(unraisable.exc_value) == "Event loop is closed"
    )
    return closed or code is not None and "orbax" in code.co_filename
