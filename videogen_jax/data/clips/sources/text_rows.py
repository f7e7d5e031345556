"""Text parsing of lists and captions, row by row, with errors that name file and row."""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
# [hours:]minutes:seconds, as subtitles have them too, with a comma
_CLOCK = re.compile(r"(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,2}(?:[.,][0-9]*)?)")


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (line, fields by column) of a list with a header; its delimiter is detected."""
    delimiter = delimiter_of(path)
    lines = csv_lines(path, delimiter)
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
                f"(is a caption with a {_DELIMITERS[delimiter]} not in quotes?)"
            )
        yield line, dict(zip(header, values, strict=True))


def csv_header(path: Path) -> list[str]:
    """Returns the columns of a list."""
    return next(csv_lines(path, delimiter_of(path)), (0, []))[1]


def delimiter_of(path: Path) -> str:
    """Returns the delimiter of a list: of comma, semicolon and tab that with most columns."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = next((line for line in file if line.strip()), "")

    def columns(delimiter: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=delimiter), []))
        except csv.Error:
            return 0

    first = "\t" if path.suffix.lower() == ".tsv" else ","
    return max(first, *_DELIMITERS, key=columns)


def csv_lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (line on which a row begins, its fields); empty lines are left out."""
    # Bytes that are not UTF-8 become surrogates; an error can then name their row.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
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
    """Returns a time of a row in seconds, from a number or hh:mm:ss.s, or None if there is none."""
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = _clock(value.strip()) if isinstance(value, str) else _finite(value)
    if number is None:
        raise UserError(f"{where}: {key} must be seconds or hh:mm:ss.s, got {value!r}")
    return number


def _clock(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return _finite(float(text))
    if not (found := _CLOCK.fullmatch(text)):
        return None
    hours, minutes, rest = found[1], int(found[2]), float(found[3].replace(",", "."))
    if rest >= 60 or (hours is not None and minutes >= 60):
        return None
    return 3600 * int(hours or 0) + 60 * minutes + rest


def _finite(value: Any) -> float | None:
    """Returns a number as a float, or None if it is not finite or not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def require_finite(row: dict[str, Any], key: str, where: str) -> None:
    """Raises UserError if a field is NaN or infinite, as a number or as text."""
    value = row.get(key)
    try:
        is_finite = math.isfinite(float(value))  # pyright: ignore[reportArgumentType]
    except OverflowError:
        is_finite = False
    except (TypeError, ValueError):  # not a number at all, but free text
        return
    if not is_finite:
        raise UserError(f"{where}: {key} must be a finite number, got {value!r}")


def require_text(text: str, name: str, where: str) -> None:
    """Raises UserError if UTF-8 cannot express a text, because a character in it is cut in two."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = text[error.start]
        raise UserError(
            f"{where}: {name} contains {found!r}, half of a surrogate pair, which is not text: "
            f"{text!r}"
        ) from error


def captions_of(value: Any, name: str, where: str) -> tuple[str, ...]:
    """Returns the captions in a field that is a text or a list of texts.

    Raises:
        UserError: it is something else, or a text has half of a surrogate pair.
    """
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{where}: {name} must be a text or a list of texts, got {value!r}")
    for text in texts:
        require_text(text, name, where)
    return texts_of(*texts)


def texts_of(*texts: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts if text.strip())
