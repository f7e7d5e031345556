"""Locks on folders that only one process may write to at a time."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.lock_owner import NO_LOCKS, in_use, this_process
from videogen_jax.paths import is_remote
from videogen_jax.storage_locks import hold_storage_lock

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.02
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextlib.contextmanager
def hold_lock(path: Path, what: str, *, wait: float = 0.0) -> Iterator[None]:
    """Locks the file `path` within the block, so that no other process enters a block with it.

    The operating system releases the lock when the process ends, however it ends. So a file that a
    killed process left behind is taken over. The file contains the host and the process id for the
    message of the next process; it is removed after the block. Its folder is created if missing.

    On a file system without locks, a warning says so and the block runs without one. For a path in
    a bucket, see `storage_locks`.

    Args:
        path: the lock file, in the folder that it protects.
        what: what is locked, for messages, such as "the run directory runs/stage-1".
        wait: seconds to wait for another process to release the lock.

    Raises:
        UserError: another process has the lock; the message names its host and process id. Or the
            file cannot be written.
    """
    if is_remote(path):
        with hold_storage_lock(path, what):
            yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, what, time.monotonic() + wait)
    except OSError as error:
        raise UserError(f"cannot lock {what}: {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        # While the file is still locked: nobody else can have locked this file and lose it.
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path, what: str, deadline: float) -> int:
    """Returns the descriptor of the open and locked file, with this process's owner line in it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _flock(file, path, what, deadline)
            # The process that had the lock may have removed the file after it was opened here.
            if _is_at(file, path):
                _write_owner(file)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _flock(file: int, path: Path, what: str, deadline: float) -> None:
    try:
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_POLL_SECONDS)
    except BlockingIOError as error:
        raise in_use(what, _owner(file)) from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _log.warning(NO_LOCKS, path, "file system", error.strerror, what)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _write_owner(file: int) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, (json.dumps(this_process()) + "\n").encode(), 0)


def _owner(file: int) -> Any:
    try:
        return json.loads(os.pread(file, 4096, 0))
    except ValueError:  # it has the lock, but has not written the line yet
        return None
