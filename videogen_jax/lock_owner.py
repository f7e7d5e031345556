"""The process that has a lock: the record in the lock, and what messages say of it."""

import os
import socket
import time
from typing import Any

from videogen_jax.errors import UserError

NO_LOCKS = "%s: this %s has no locks (%s); make sure that no other process uses %s"
"""A warning: the lock, what it is in, the reason, and what it would protect."""


def this_process() -> dict[str, Any]:
    """Returns the record of this process, for JSON."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now}


def name_of(owner: Any) -> str:
    """Returns a process's name by its record; "another process" by anything else."""
    if not isinstance(owner, dict) or not {"pid", "host", "since"} <= owner.keys():
        return "another process"
    return f"process {owner['pid']} on {owner['host']} since {owner['since']}"


def in_use(what: str, owner: Any) -> UserError:
    """Returns the error for a process that finds the lock of another one."""
    return UserError(f"{what} is in use by {name_of(owner)}: wait until it has ended, or end it")
