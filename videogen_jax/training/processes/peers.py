"""Ending a run on several processes when one of them ends, so that none waits for a dead one."""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator

import jax

from videogen_jax.cli import traceback_wanted
from videogen_jax.errors import user_message

LOST_PEER = 75  # exit status: a temporary failure (sysexits.h); the same command line continues

_CONNECTION = re.compile(
    r"gloo|nccl|connection (reset|refused|closed)|socket closed|broken pipe|heartbeat"
    r"|coordination service|preempted|barrier|deadline_exceeded|unavailable:",
    re.IGNORECASE,
)


def is_lost_peer(error: BaseException | None) -> bool:
    """Returns whether an error means that a connection to another process broke."""
    return isinstance(error, ValueError | RuntimeError) and bool(_CONNECTION.search(str(error)))


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Ends this process with a message as soon as the block raises, in a run on several processes.

    Normal unwinding would wait in JAX's shutdown for the lost process. The exit status is 75 if a
    connection to another process broke, otherwise 1. If nothing raises, for example because a
    process hangs, JAX's runtime aborts the others after its heartbeat timeout.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        message = user_message(error)
        who = f"process {jax.process_index()} of {jax.process_count()}"
        if is_lost_peer(error):
            status, text = LOST_PEER, f"{who} stops because another one is lost: {error}"
        else:
            status, text = 1, f"{who} stops: {message or error}"
        if traceback_wanted() or status == 1 and message is None:
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(status)
