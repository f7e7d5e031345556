"""Reading of the fields of diffusers' and transformers' configuration files, strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object


@dataclass(frozen=True)
class Fields:
    """The treatment of each field of a diffusers class.

    Attributes:
        read: diffusers' name -> (our name, diffusers' default).
        fixed: diffusers' name -> the only supported value, which is also diffusers' default.
        without_effect: diffusers' names.
    """

    read: Mapping[str, tuple[str, Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    without_effect: tuple[str, ...] = ()


def read_fields(path: Path, fields: Fields) -> dict[str, Any]:
    """Returns the fields to read, by our names; raises an error for all unsupported fields."""
    values = read_json_object(path)
    problems = []
    for name, value in values.items():
        if name in fields.fixed:
            if value != fields.fixed[name]:
                problems.append(f"{name} is {value!r}, only {fields.fixed[name]!r} is supported")
        elif name not in fields.read and name not in fields.without_effect:
            if value is not None and not name.startswith("_"):
                problems.append(f"{name} is {value!r}, a field that is not supported")
    if problems:
        raise UserError("\n  ".join([f"{path} describes another network:", *problems]))
    return {ours: values.get(name, default) for name, (ours, default) in fields.read.items()}


def choice(path: Path, name: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    """Returns our value for diffusers' `value` of a field; raises UserError if it has none."""
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{path}: {name} has {value!r}, expected one of {', '.join(allowed)}")
    return allowed[value]


def choices(path: Path, name: str, values: Any, allowed: Mapping[str, Any]) -> list[Any]:
    """Applies `choice` to every value of a list; raises UserError if `values` is no list."""
    if not isinstance(values, list):
        raise UserError(f"{path}: {name} is {values!r}, expected a list")
    return [choice(path, name, value, allowed) for value in values]
