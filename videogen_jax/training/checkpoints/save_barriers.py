"""Where the processes of a run meet while a checkpoint is written.

Orbax has every process write its part and then meet the others twice: before and after process 0
commits the checkpoint. One that cannot write its part, as on a full disk, does not come, and where it
goes next the others are not: all would wait for Orbax's timeout of 20 minutes. Here it is told apart.
"""

import sys

from orbax.checkpoint import multihost

_SAVE_BEGINS_OR_ENDS = "set_value_start"  # parts of the names that Orbax gives its barriers
_COMMITTED = "async_commit_complete"


class SaveBarriers:
    """The barriers of one process, for `AsyncOptions.barrier_sync_fn`.

    `failed` is True once a save ended here without having been committed. The error is raised again in
    place of waiting for the other processes, which do not come; then this process has to end.
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
