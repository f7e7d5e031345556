"""Parsing of JSON texts."""

import json
from typing import Any

from videogen_jax.errors import UserError


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Parses JSON like `json.loads`, of which `options` are keyword arguments.

    Raises:
        ValueError: the text is not JSON, not UTF-8, or is nested too deeply to be parsed.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise UserError("lists and objects are nested too deeply") from None
