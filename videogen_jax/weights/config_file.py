"""Trees of frozen dataclasses as JSON, strict in both directions.

Fields may be bool, int, float, str, None, `Literal`, a dataclass, a union of these (such as
`float | None`), and `tuple[X, ...]` or `tuple[X, Y]` of them. If a field may be one of several
dataclasses (of a union, or derived from an abstract class), the file has a key `type` with the
class's name beside its fields. An int is accepted for a float. Nothing else is converted: a bool is
not an int, and NaN and infinity are not floats. A field that is left out takes the dataclass's
default.
"""

import dataclasses
import inspect
import json
import math
import os
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from videogen_jax import json_text
from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.settings_file import differing_lines

Config = TypeVar("Config")

TYPE = "type"  # the key of the class's name


def save_config(path: str | os.PathLike[str], config: Any) -> None:
    """Writes a dataclass tree as JSON, atomically; parents are created.

    Raises:
        UserError: a value does not fit its field's type, by which the file would not load again,
            or `path` cannot be written.
    """
    data = to_dict(config)
    from_dict(data, type(config), where=str(path))
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")


def load_config(path: str | os.PathLike[str], cls: type[Config]) -> Config:
    """Reads a file of `save_config`.

    Raises:
        MissingFile: the file does not exist.
        UserError: not JSON, an unknown, repeated or missing field, or a value of the wrong type;
            names the file, the field's path, and what was expected.
    """
    return from_dict(read_json(path), cls, where=str(path))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a configuration file as nested dicts, for `from_dict`.

    Raises:
        MissingFile: the file does not exist.
        UserError: not JSON, or a repeated field; names the file.
    """
    return json_text.read_json(path, "configuration file", object_pairs_hook=_unique_fields)


def to_dict(config: Any) -> dict[str, Any]:
    """Converts a dataclass tree to nested dicts for JSON, with tuples as lists."""
    return json.loads(json.dumps(_plain(config)))


def differing_fields(*, there: object, now: object) -> dict[str, str]:
    """Returns a line for each field, by its path, in which two configurations differ."""
    return differing_lines(there=to_dict(there), now=to_dict(now))


def _plain(value: Any, expected: Any = None) -> Any:
    """Converts `value` to plain dicts and lists; `expected` is the type of its field."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    hints = typing.get_type_hints(type(value))
    names = [field.name for field in dataclasses.fields(value)]  # hints has class variables too
    plain = {name: _plain(getattr(value, name), hints[name]) for name in names}
    return {TYPE: type(value).__name__, **plain} if _is_choice(expected) else plain


def _is_choice(expected: Any) -> bool:
    return inspect.isabstract(expected) or len(_dataclasses_of(expected)) > 1


def _dataclasses_of(expected: Any) -> list[type]:
    """Returns the dataclasses of a union or an abstract class; none for another type."""
    if inspect.isabstract(expected):
        return list(expected.__subclasses__())
    if typing.get_origin(expected) not in (typing.Union, types.UnionType):
        return []
    choices = typing.get_args(expected)
    return [
        choice
        for choice in choices
        if isinstance(choice, type) and dataclasses.is_dataclass(choice)
    ]


def from_dict(data: Any, cls: type[Config], *, where: str = "config") -> Config:
    """Builds a `cls` from the dicts of `to_dict`.

    Args:
        data: nested dicts.
        cls: the dataclass.
        where: beginning of the error messages.

    Raises:
        UserError: as `load_config`.
    """
    return _parse(data, cls, where + ": ", "")


def _parse(value: Any, expected: Any, where: str, path: str) -> Any:
    """Parses `value` as the type `expected`; `path` is the field's path, "" at the root."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType) or inspect.isabstract(expected):
        return _parse_union(value, expected, arguments, where, path)
    if dataclasses.is_dataclass(expected):
        return _parse_dataclass(value, expected, where, path)
    if origin is tuple:
        return _parse_tuple(value, expected, arguments, where, path)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            choices = ", ".join(repr(choice) for choice in arguments)
            raise UserError(f"{where}{path} is {value!r}, expected one of {choices}")
        return value
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected or (expected is float and not math.isfinite(value)):
        raise _wrong_type(value, expected, where, path)
    return value


def _parse_dataclass(value: Any, cls: Any, where: str, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong_type(value, cls, where, path)
    prefix = f"{path}." if path else ""
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    if unknown := sorted(value.keys() - fields.keys()):
        names = ", ".join(prefix + name for name in unknown)
        raise UserError(f"{where}unknown {names}; {cls.__name__} has {', '.join(fields)}")
    required = [
        field.name
        for field in fields.values()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if absent := [prefix + name for name in required if name not in value]:
        raise UserError(f"{where}missing {', '.join(absent)}, which have no default")
    hints = typing.get_type_hints(cls)
    parsed = {name: _parse(v, hints[name], where, prefix + name) for name, v in value.items()}
    try:
        return cls(**parsed)
    except ValueError as error:  # from __post_init__, where the file is unknown
        raise UserError(f"{where}{prefix}{error}") from error


def _parse_union(value: Any, expected: Any, arguments: tuple, where: str, path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    classes = {cls.__name__: cls for cls in _dataclasses_of(expected)}
    if _is_choice(expected) and isinstance(value, Mapping):
        name = value.get(TYPE)
        if name not in classes:
            raise UserError(
                f"{where}{path}.{TYPE} is {name!r}, expected one of {', '.join(classes)}"
            )
        fields = {key: item for key, item in value.items() if key != TYPE}
        return _parse(fields, classes[name], where, path)
    choices = [argument for argument in arguments if argument is not type(None)]
    if len(choices) == 1:
        return _parse(value, choices[0], where, path)
    for choice in choices:
        try:
            return _parse(value, choice, where, path)
        except UserError:
            continue
    raise _wrong_type(value, expected, where, path)


def _parse_tuple(value: Any, expected: Any, arguments: tuple, where: str, path: str) -> tuple:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list | tuple) or not (repeated or len(value) == len(arguments)):
        raise _wrong_type(value, expected, where, path)
    items = arguments[:1] * len(value) if repeated else arguments
    return tuple(
        _parse(v, item, where, f"{path}[{i}]")
        for i, (v, item) in enumerate(zip(value, items, strict=True))
    )


def _wrong_type(value: Any, expected: Any, where: str, path: str) -> UserError:
    name = expected.__name__ if isinstance(expected, type) else str(expected)
    finite = "finite " if expected is float else ""
    return UserError(f"{where}{path or 'the file'} is {value!r}, expected {finite}{name}")


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = sorted({name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1})
        raise UserError(f"field given more than once: {', '.join(names)}")
    return fields
