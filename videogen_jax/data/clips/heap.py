"""Release of freed memory to the operating system."""

import ctypes
import functools
from collections.abc import Callable


def give_back_memory() -> None:
    """Makes glibc return freed memory to the system; does nothing with other C libraries.

    Every decoding thread has an arena, which glibc keeps at its largest size because of
    fragmentation. Without this call, a process that reads clips in threads grows by megabytes per
    thousand windows.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    # CDLL(None) is the process itself. musl and macOS have no malloc_trim, Windows no such handle.
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
