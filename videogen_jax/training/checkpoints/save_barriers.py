"""Barriers between the processes of a run while a checkpoint is written.

In Orbax, every process writes its part and then waits for the others at two barriers, before and
after process 0 commits the checkpoint. A process that cannot write its part, for example on a full
disk, never reaches them, and it waits at its next barrier without the others. All processes would
wait for Orbax's timeout of 20 minutes. This module detects the failure instead.
"""

import sys

from orbax.checkpoint import multihost

_SAVE_BEGINS_OR_ENDS = "set_value_start"  # parts of the names that Orbax gives its barriers
_COMMITTED = "async_commit_complete"


class SaveBarriers:
    """The barriers of one process, for `AsyncOptions.barrier_sync_fn`.

    `failed` is True after a save has ended in this process without a commit. The error is then
    raised again, instead of waiting for other processes that will not come. This process has to
    exit.
    """

    def __init__(self):
        self.failed = False
        self._wait = multihost.get_barrier_sync_fn()
        self._saving = self._committed = False

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        if _SAVE_BEGINS_OR_ENDS in key:
            if self._saving and not self._committed:
                self.failed = True
                raise sys.exception() or RuntimeError("the part of this process was not written")
            self._saving, self._committed = not self._saving, False
        self._wait(key=key, timeout_ms=timeout_ms)
        self._committed = self._committed or _COMMITTED in key
