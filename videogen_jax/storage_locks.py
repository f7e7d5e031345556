"""Locks in buckets, where the storage does not release the lock of a process that has ended.

The lock is an object that is created only if it does not exist, which S3, Google Cloud Storage and
fsspec's own file systems can do. Its owner writes it again from time to time. A process that finds
one watches it: if it changes, its owner lives; if it does not, the owner has ended without removing
it, and it is taken over. So clocks of different machines are never compared.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError, first_line
from videogen_jax.lock_owner import NO_LOCKS, in_use, name_of, this_process

_log = logging.getLogger(__name__)

RENEW_SECONDS = 20.0
DEAD_SECONDS = 60.0  # without a renewal; well above RENEW_SECONDS
_POLL_SECONDS = 1.0


@contextlib.contextmanager
def hold_storage_lock(path: Path, what: str) -> Iterator[None]:
    """Does for a path in a bucket what `locking.hold_lock` does for a file.

    If the object of another process is there, it takes up to `DEAD_SECONDS` to find out whether
    that process lives; a process that has ended on this machine is recognised at once.

    Raises:
        UserError: another process has the lock; the message names its host and process id. Or the
            bucket cannot be written.
    """
    owner = this_process() | {"token": uuid.uuid4().hex}
    try:
        acquired = _acquire(path, what, owner)
    except UserError:
        raise
    except Exception as error:  # each storage has its own, such as for a bucket that is not there
        raise UserError(f"cannot lock {what}: {path}: {first_line(error)}") from error
    if not acquired:
        yield
        return
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, what, owner, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        if _owner(path).get("token") == owner["token"]:
            path.unlink(missing_ok=True)


def _acquire(path: Path, what: str, owner: dict[str, Any]) -> bool:
    """Creates the object; returns False, with a warning, if the storage cannot exclude others."""
    first_seen, seen_at = None, 0.0
    while True:
        try:
            if not path.exists():  # some imitations of S3 do not refuse to create it again
                _write(path, owner, mode="create")
                return True
            there = _owner(path)
        except FileExistsError:
            there = _owner(path)
        except (NotImplementedError, TypeError, ValueError) as error:
            _log.warning(NO_LOCKS, path, "storage", error, what)
            return False
        if first_seen is None:
            first_seen, seen_at = there, time.monotonic()
            if not _has_ended_here(there):
                _log.info("%s may be in use by %s: waiting for a sign of it", what, name_of(there))
        elif there and there != first_seen:
            raise in_use(what, there)
        if _has_ended_here(there) or time.monotonic() - seen_at > DEAD_SECONDS:
            _log.info("%s: taking over the lock of %s, which has ended", what, name_of(there))
            path.unlink(missing_ok=True)
            continue
        time.sleep(min(_POLL_SECONDS, DEAD_SECONDS / 4))


def _renew(path: Path, what: str, owner: dict[str, Any], ended: threading.Event) -> None:
    number = 0
    while not ended.wait(RENEW_SECONDS):
        number += 1
        try:
            if _owner(path).get("token") != owner["token"]:
                _log.error("%s: another process has taken over the lock of %s", path, what)
                return
            _write(path, owner | {"renewed": number}, mode="overwrite")
        except Exception as error:  # of the network; the next renewal may succeed
            _log.warning("%s: the lock could not be renewed: %s", path, error)


def _write(path: Any, owner: dict[str, Any], mode: str) -> None:
    try:
        path.fs.pipe_file(path.path, (json.dumps(owner) + "\n").encode(), mode=mode)
    except OSError as error:
        # S3 answers "precondition failed" if the object exists, which s3fs has no type for.
        if mode == "create" and "precondition" in str(error).lower():
            raise FileExistsError(str(error)) from error
        raise


def _owner(path: Any) -> dict[str, Any]:
    try:
        # In one request: a file that is opened and then read may be written again in between.
        owner = json.loads(path.fs.cat_file(path.path))
    except (FileNotFoundError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _has_ended_here(owner: dict[str, Any]) -> bool:
    """Returns whether the owner was a process of this machine that no longer runs."""
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
