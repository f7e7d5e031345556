"""The results of the parts in `results.json`, which is written after every row.

{"about": {...}, "parts": {part: {"status": str, "seconds": float, "tables": {table: [row]},
 "notes": [str], "failures": [str]}}}
"""

import fcntl
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

FILE = "results.json"
Result = TypeVar("Result")


def read(out: Path) -> dict[str, Any]:
    """Returns the results so far; an empty record if there are none."""
    path = out / FILE
    return json.loads(path.read_text()) if path.exists() else {"about": {}, "parts": {}}


def update(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Reads, changes and replaces the results under a lock."""
    out.joinpath("work").mkdir(exist_ok=True)
    with (out / "work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = read(out)
        change(results)
        temporary = out / "work" / FILE
        temporary.write_text(json.dumps(results, indent=1) + "\n")
        os.replace(temporary, out / FILE)


class Report:
    """A part's access to its results and its remaining time.

    Args:
        out: the folder of the results.
        part: the part's name.
        seconds: the time limit of the part, from now on.
        dry_run: whether sizes are tiny.
    """

    def __init__(self, out: Path, part: str, seconds: float, dry_run: bool):
        self.out, self.dry_run = out, dry_run
        self.scratch = out / "work" / "scratch" / part
        self._part, self._deadline = part, time.monotonic() + seconds

    def left(self) -> float:
        """Returns the seconds that remain for the part."""
        return self._deadline - time.monotonic()

    def add(self, table: str, /, **row: Any) -> None:
        """Adds a row of unrounded numbers; all rows of a table have the same columns."""
        self._change(lambda record: record["tables"].setdefault(table, []).append(row))

    def note(self, text: str) -> None:
        """Adds a remark on the tables."""
        self._change(lambda record: record["notes"].append(text))

    def fail(self, what: str, why: str) -> None:
        """Adds a failure, which makes the whole command fail."""
        self._change(lambda record: record["failures"].append(f"{what}: {why}"))

    def attempt(
        self, what: str, work: Callable[..., Result], *args: Any, needs: float = 5.0
    ) -> Result | None:
        """Calls `work(*args)` if at least `needs` seconds are left.

        An exception becomes a failure, with its traceback in the log. Without enough time, a note
        is added instead.
        """
        if not self.dry_run and self.left() < needs:
            return self.note(f"{what}: left out, {max(self.left(), 0):.0f} s were left")
        try:
            return work(*args)
        except Exception as error:  # other attempts continue after any error
            traceback.print_exc()
            return self.fail(what, first_lines(error))

    def ceiling(self, name: str) -> float | None:
        """Returns a ceiling measured by part `devices`, `tflops` or `bytes_per_second`, or None."""
        tables = read(self.out)["parts"].get("devices", {}).get("tables", {})
        values = [row[name] for rows in tables.values() for row in rows if row.get(name)]
        return max(values) if values else None

    def _change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        update(self.out, lambda results: change(results["parts"][self._part]))


def first_lines(error: BaseException, length: int = 300) -> str:
    """Returns an exception as one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:length]}{'…' if len(text) > length else ''}"


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Formats rows as the lines of an aligned text table with headings."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def shown(value: Any) -> str:
    """Formats a cell of a table: three significant digits; empty for None."""
    if value is None:
        return ""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return str(value)
