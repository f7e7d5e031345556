"""Memory of decoded frames that nobody needs any more."""

import ctypes
import functools
from collections.abc import Callable


def give_back_memory() -> None:
    """Has glibc return what it holds of freed memory to the system; nothing with other libraries.

    Every thread that decodes has an arena, which glibc keeps at the most that it ever held, in
    pieces between which others lie: without this a process that reads clips in threads grows by
    megabytes per thousand windows.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    # Of the process itself; musl and macOS have none, Windows no such handle.
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
