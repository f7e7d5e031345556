"""The settings with which a folder was begun, as JSON; a later call with others is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogen_jax import trees
from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object


def differing_lines(*, there: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Returns a line for each field, by its path, in which two nested dicts differ."""
    old, new = trees.flatten(there), trees.flatten(now)
    return {
        field: f"  {field}: {old.get(field)!r} there, {new.get(field)!r} now"
        for field in sorted({*old, *new})
        if old.get(field) != new.get(field)
    }


def require_settings(path: Path, settings: Mapping[str, Any], what: str) -> None:
    """Writes settings, or checks that those that are there are the same.

    Args:
        path: the file.
        settings: what JSON can have.
        what: what was begun with the settings, for the message.

    Raises:
        UserError: they differ; lists the fields.
    """
    text = json.dumps(settings, indent=2)
    if not path.exists():
        with replacing(path) as temporary:  # every process writes the same
            temporary.write_text(text + "\n", encoding="utf-8")
        return
    there = read_json_object(path)
    if lines := list(differing_lines(there=there, now=json.loads(text)).values()):
        message = f"{path}: {what} with other settings; give a new folder. Differing fields:"
        raise UserError("\n".join([message, *lines]))
