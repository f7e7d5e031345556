"""Text parsing of lists and captions, row by row, with errors that name file and row."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    lines = csv_lines(path)
    _, header = next(lines, (0, []))
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: no column {' and no column '.join(missing)}; "
            f"the columns are: {', '.join(header) or 'none'}"
        )
    for line, values in lines:
        if len(values) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(values)} fields, expected {len(header)} "
                "(is a caption with a comma not in quotes?)"
            )
        yield line, dict(zip(header, values, strict=True))


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line on which a row begins, its fields); empty lines are left out."""
    # Bytes that are not UTF-8 become surrogates; an error can then name their row.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)
        line = 1
        try:
            for row in rows:
                if any("\udc80" <= letter <= "\udcff" for text in row for letter in text):
                    raise UserError(f"{path}, line {line}: the text is not UTF-8")
                if row:
                    yield line, row
                line = rows.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}, line {line}: {error}") from error


def require(row: Any, keys: tuple[str, ...], where: str) -> None:
    missing = [key for key in keys if not isinstance(row, dict) or key not in row]
    if missing:
        found = ", ".join(row) if isinstance(row, dict) else repr(row)
        raise UserError(f"{where}: no {' and no '.join(missing)}; it has: {found}")


def seconds(row: dict[str, Any], key: str, where: str) -> float | None:
    value = row.get(key)
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {key} must be seconds, got {value!r}") from error


def parse_json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: the text is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}") from error


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: the text is not UTF-8") from error


def texts_of(*texts: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts if text.strip())
