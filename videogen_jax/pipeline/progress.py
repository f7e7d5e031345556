"""What a call shows while it samples: progress bars, a user's callback, the end by Ctrl-C."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from videogen_jax.pipeline import interrupts
from videogen_jax.pipeline.denoise import Tick


@dataclass(frozen=True)
class Progress:
    """How far a call of `VideoGen` is, the argument of its `callback`.

    Attributes:
        part: "reference image", "stage 1", ..., "temporal SR" or "decoding".
        done: steps (decoding: frames) of this part that are done.
        total: steps of this part.
        result: with the end of a part, what it made, on the devices: the reference image, uint8
            `[B, H, W, 3]`, or latents `[B, F, H, W, Z]`, which `VideoGen.decode` turns into frames.
            None before, and for decoding.
    """

    part: str
    done: int
    total: int
    result: Any = None


Callback: TypeAlias = Callable[[Progress], object]


def is_shown(progress: bool | None) -> bool:
    """Returns whether to show progress bars; None: on a terminal or in a notebook."""
    if progress is not None:
        return progress
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython() if ipython else None, "kernel", None) is not None


@contextmanager
def bar(shown: bool | None, what: str, total: int, unit: str) -> Iterator[Tick]:
    """Yields the function to call after each step, which advances a progress bar if `shown`.

    The function raises `KeyboardInterrupt` after a Ctrl-C (`interrupts.interruptible`).
    """
    if not is_shown(shown):
        yield lambda count: interrupts.check()
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=f"{what:<20}", unit=unit) as shown_bar:

        def advance(count: int) -> None:
            shown_bar.update(count)
            interrupts.check()

        yield advance


class Reporter:
    """The progress bars and the callback of one call.

    Args:
        shown: whether to show progress bars; None: on a terminal or in a notebook.
        callback: called after each step, and with the result of each part; what it raises ends the
            call.
    """

    def __init__(self, shown: bool | None = False, callback: Callback | None = None):
        self._shown, self._callback = is_shown(shown), callback

    @contextmanager
    def part(self, what: str, total: int, unit: str = "step") -> Iterator[Tick]:
        """Yields the function to call after each step of a part, as `bar`."""
        with bar(self._shown and total > 0, what, total, unit) as advance:
            done = 0

            def tick(count: int) -> None:
                nonlocal done
                advance(count)
                done += count
                self._call(Progress(what, done, total))

            yield tick

    def made(self, what: str, total: int, result: Any) -> None:
        """Reports the result of a part."""
        self._call(Progress(what, total, total, result))

    def _call(self, progress: Progress) -> None:
        if self._callback is not None:
            self._callback(progress)
