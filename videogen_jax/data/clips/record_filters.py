"""Filters of one's own: functions that see each record before it is written, such as a score.

A filter is named by `module:function`, so that a worker on another machine finds it too. It gets a
`ClipRecord` and returns None to keep it, or the reason for its rejection, one short word that
ingest counts. `decode_window(record.video, start, count, stride)` gives the frames.
"""

import importlib
from collections.abc import Callable
from typing import Any, cast

from videogen_jax.data.clips.files.clip_config import Rejected
from videogen_jax.data.clips.records import ClipRecord
from videogen_jax.errors import UserError

RecordFilter = Callable[[ClipRecord], str | None]


def load_filter(name: str) -> RecordFilter:
    """Imports a filter.

    Raises:
        UserError: the name is not `module:function`, or there is no such module or function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise UserError(f"filter {name!r}: expected module:function")
    try:
        found: Any = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a package that the module needs
        raise UserError(
            f"filter {name!r}: no module {module}; it has to be installed, or its folder be in "
            "PYTHONPATH, for every worker"
        ) from error
    if not callable(found):
        raise UserError(f"filter {name!r}: no function {function} in {module}")
    return cast(RecordFilter, found)


def check_record(name: str, keeps: RecordFilter, record: ClipRecord) -> None:
    """Raises Rejected with the reason that a filter gives.

    Raises:
        Rejected: see above.
        UserError: it returns something else than None or a text.
    """
    reason = keeps(record)
    if reason is None:
        return
    if not isinstance(reason, str) or not reason:
        raise UserError(f"filter {name!r} returned {reason!r}, expected None or a reason")
    raise Rejected(reason, f"by the filter {name}")
