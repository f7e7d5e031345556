"""What a call shows while it samples: progress bars or a user's function, the end by Ctrl-C."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from videogen_jax.pipeline import interrupts
from videogen_jax.pipeline.denoise import Tick


@dataclass(frozen=True)
class Progress:
    """How far a call of `VideoGen` is, the argument of a function `progress`.

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


Report: TypeAlias = Callable[[Progress], object]


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


class Part:
    """A part of a call that runs: the function to call after each step.

    `result` is later a function that returns what the part made, called only if that is reported.
    """

    def __init__(self, tick: Tick):
        self.tick = tick
        self.result: Callable[[], Any] | None = None


class Reporter:
    """The progress bars of one call, or the user's function in place of them.

    Args:
        progress: whether to show progress bars; None: on a terminal or in a notebook. Or a function
            that is called after each step, and with the result of each part; what it raises ends
            the call.
    """

    def __init__(self, progress: bool | None | Report):
        self._report = progress if callable(progress) else None
        self._shown = self._report is None and is_shown(progress)  # type: ignore[arg-type]

    @contextmanager
    def part(self, what: str, total: int, unit: str = "step") -> Iterator[Part]:
        """Yields a part with as many steps; at its end, its result is reported if it has one."""
        with bar(self._shown and total > 0, what, total, unit) as advance:
            done = 0

            def tick(count: int) -> None:
                nonlocal done
                advance(count)
                done += count
                self._call(Progress(what, done, total))

            part = Part(tick)
            yield part
        if part.result is not None and self._report is not None:
            self._report(Progress(what, total, total, part.result()))

    def _call(self, progress: Progress) -> None:
        if self._report is not None:
            self._report(progress)
