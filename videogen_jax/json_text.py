"""Parsing of JSON texts and files."""

import json
import os
from typing import Any

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Parses JSON like `json.loads`, of which `options` are keyword arguments.

    Raises:
        ValueError: the text is not JSON, not UTF-8, or is nested too deeply to be parsed.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise UserError("lists and objects are nested too deeply") from None


def parse_json_of(where: str, data: str | bytes) -> Any:
    """Parses JSON from a place that errors name, such as a file and its line.

    Raises:
        UserError: it is not UTF-8, with or without a byte order mark, not JSON, or nested too
            deeply; names the place.
    """
    try:
        return json.loads(data.decode("utf-8-sig") if isinstance(data, bytes) else data)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: the text is not UTF-8") from error
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{where}: the JSON is nested too deeply") from error


def read_json(path: str | os.PathLike[str], what: str = "file", **options: Any) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        what: what it is called in the message if it does not exist.
        options: keyword arguments of `json.loads`.

    Raises:
        MissingFile: the file does not exist.
        UserError: it is not JSON; names the file.
    """
    path = as_path(path)
    if not path.is_file():
        raise MissingFile(f"no {what} {path}")
    try:
        return parse_json(path.read_text(encoding="utf-8"), **options)
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file: {error}") from error


def read_json_object(path: str | os.PathLike[str], what: str = "file") -> dict[str, Any]:
    """Reads a JSON file that holds an object. Arguments and errors as for `read_json`."""
    content = read_json(path, what)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected an object")
    return content
