"""Errors of Beam's workers, as one line.

Beam passes most errors of a worker on as the text of their traceback. It also logs this text and
prints it on stderr.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import Any, TextIO

from videogen_jax.errors import UserError, user_message

_LOGGERS = (
    "apache_beam.runners.common",
    "apache_beam.runners.direct.executor",
    "apache_beam.runners.worker.sdk_worker",
)
_STEP = re.compile(r" \[while running '[^']*'\]")
_LAST_LINE = re.compile(r"^videogen_jax\.errors\.\w+: (.+)$", re.MULTILINE)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns an error of the file system or of `array_record` within the block into a UserError.

    Args:
        what: names what is written, for the message.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        detail = user_message(error) or one_line(error)
        raise UserError(f"cannot write {what}: {detail}") from error


@contextmanager
def raising_user_errors() -> Iterator[None]:
    """Raises a worker's UserError in place of Beam's error, whose text is not shown."""
    with ExitStack() as filters, redirect_stderr(_OtherText(sys.stderr)):
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addFilter(_is_other)
            filters.callback(logger.removeFilter, _is_other)
        try:
            yield
        except Exception as error:
            message = _message(error)
            if message is None:
                raise
            raise UserError(message) from error


def one_line(error: BaseException, longest: int = 500) -> str:
    """Returns the text of an error in one line, or its type if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]}..."


def _message(error: object) -> str | None:
    """Returns the message of the UserError that an error is or contains, or None."""
    if isinstance(error, UserError):
        return _STEP.sub("", str(error))
    found = _LAST_LINE.findall(str(error))
    return _STEP.sub("", found[-1]) if found else None


def _is_other(record: logging.LogRecord) -> bool:
    if record.exc_info and _message(record.exc_info[1]) is not None:
        return False
    return _message(record.msg) is None and _message(record.getMessage()) is None


class _OtherText:
    """A text stream that leaves out what contains a UserError's traceback."""

    def __init__(self, stream: TextIO):
        self._stream, self._left_out = stream, False

    def write(self, text: str) -> int:
        """Writes a text, unless it is such a traceback or the end of its line."""
        if _LAST_LINE.search(text):
            self._left_out = True
        elif not (self._left_out and text == "\n"):
            self._left_out = False
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
