"""Limits on what one video file may ask for: kind of file, size of its frames, time."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from videogen_jax.data.clips.files.decoding import Unreadable

T = TypeVar("T")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_regular_file(path: str | Path) -> None:
    """Raises Unreadable unless a path is a regular file: reading others may never end.

    Raises:
        Unreadable: "missing_file", "not_a_file" or, for an empty file, "undecodable".
        OSError: the file system cannot say what it is.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unreadable("missing_file", f"no file {path}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of unknown kind")
        raise Unreadable("not_a_file", f"it is {kind}, expected a regular file")
    if not status.st_size:  # also those of /proc, of which some block
        raise Unreadable("undecodable", "the file is empty")


@dataclass(frozen=True)
class FrameLimits:
    """Limits on a frame, as stored and as displayed.

    Attributes:
        max_pixels: largest number of pixels.
        max_aspect: largest ratio of the longer to the shorter side as displayed.
    """

    max_pixels: int
    max_aspect: float

    def check(self, width: int, height: int, pixel_aspect: Fraction | None) -> None:
        """Checks a frame before it is converted.

        Args:
            width, height: pixels as stored; 0 if the file does not say.
            pixel_aspect: width of a pixel divided by its height, or None.

        Raises:
            Unreadable: "too_large" or "aspect".
        """
        if not width or not height:
            return
        shown = max(1, round(width * (pixel_aspect or 1)))
        text = f"{width}x{height} pixels"
        if shown != width:
            text += f" of aspect {pixel_aspect}, displayed as {shown}x{height}"
        if max(shown, width) * height > self.max_pixels:
            raise Unreadable("too_large", f"{text}, more than max_pixels {self.max_pixels}")
        ratio = max(shown, height) / min(shown, height)
        if ratio > self.max_aspect:
            raise Unreadable("aspect", f"{text}, an aspect above max_aspect {self.max_aspect:g}")


class TimeLimit:
    """A limit on the time since it was created; 0 seconds are no limit."""

    def __init__(self, seconds: float):
        self._seconds, self._begin = seconds, time.monotonic()

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """Yields the items; raises Unreadable("too_slow") once the time is over."""
        for item in items:
            if self._seconds and time.monotonic() - self._begin > self._seconds:
                raise Unreadable("too_slow", f"it takes more than {self._seconds:g} s of work")
            yield item
