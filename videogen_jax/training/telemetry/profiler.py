"""A trace of a few steps by JAX's profiler, for TensorBoard's profile tab or Perfetto."""

import logging
import re
from pathlib import Path
from typing import Any

import jax

from videogen_jax.errors import UserError
from videogen_jax.training.telemetry.local_folder import writable_folder

_log = logging.getLogger(__name__)


def parse_steps(text: str) -> tuple[int, int]:
    """Parses `START:STOP`, two steps that are both included and counted from 1.

    Raises:
        UserError: the text has another form, or STOP is before START.
    """
    found = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= first <= last:
        raise UserError(
            f"--profile is {text!r}, expected START:STOP, two steps counted from 1, such as 100:110"
        )
    return first, last


class Profiler:
    """A trace of the steps `steps = (first, last)` in `directory`; None traces nothing.

    Leaving this context manager writes an unfinished trace. It waits for the device before and
    after the trace, so that the trace contains exactly these steps.
    """

    def __init__(self, directory: Path, steps: tuple[int, int] | None):
        self._directory, self._steps = directory, steps
        self._is_tracing = False
        self._folder = writable_folder(directory)

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._folder.close()

    def before(self, step: int, state: Any) -> None:
        """Starts or stops the trace before `step`, counted from 1, which starts from `state`.

        Call it before each step.
        """
        if self._steps is None:
            return
        first, last = self._steps
        if first <= step <= last and not self._is_tracing:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self._folder.path)
            self._is_tracing = True
        elif step > last and self._is_tracing:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        if self._is_tracing:
            jax.profiler.stop_trace()
            self._is_tracing = False
            _log.info("%s: the profile of steps %s", self._directory, self._steps)
