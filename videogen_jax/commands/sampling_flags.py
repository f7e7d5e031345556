"""The command line of sampling: every option of `pipeline/requests/options.py` as a flag."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from videogen_jax.cli import command
from videogen_jax.commands.other_names import refuse_other_names
from videogen_jax.errors import UserError
from videogen_jax.pipeline.requests.options import (
    DIFFUSERS_NAMES,
    ImageOptions,
    InterpolateOptions,
    RestoreOptions,
    VideoOptions,
)

Prompts: TypeAlias = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PROMPT [PROMPT ...]", help_behavior_hint=""),
]
ReferenceFile: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: a generated image)")
]
ImageFile: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: none)")
]
Folder: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: none)")
]
StartAfter: TypeAlias = Annotated[
    str | None, tyro.conf.arg(metavar="PART", help_behavior_hint="(default: the last one there)")
]

# None, for no folder, is only the default where there is no home folder.
CacheDirectory: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]

# "'steps'" in Python is `--steps` here.
_FLAGS_FOR_DIFFUSERS_NAMES = {
    name: re.sub(r"'([a-z_]+)'", lambda found: f"--{found[1].replace('_', '-')}", use)
    for name, use in DIFFUSERS_NAMES.items()
}


def call_sampling(
    main: Callable[..., object], prog: str, arguments: Sequence[str] | None = None
) -> None:
    """Parses the command line, calls `main` and exits as `cli.command` does.

    Args:
        main: function with prompts or a file, flags, and a parameter of a class of options marked
            by `tyro.conf.OmitArgPrefixes`.
        prog: name of the script in `--help`.
        arguments: the command line, by default `sys.argv[1:]`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    names = _FLAGS_FOR_DIFFUSERS_NAMES
    known = _flags(main)
    other = {name: use for name, use in names.items() if name not in known}
    refuse_other_names(prog, words, other)
    registry = ConstructorRegistry()
    registry.primitive_rule(_flag_of_option)
    command(main, prog, args=arguments, registry=registry)


def _flags(main: Callable[..., object]) -> set[str]:
    """Returns the names of a function's parameters, and of the options in their place."""
    names: set[str] = set()
    for name, kind in get_type_hints(main).items():
        names |= {field.name for field in fields(kind)} if is_dataclass(kind) else {name}
    return names


def _flag_of_option(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Returns how to parse the type of an option that may be None; returns None for other types.

    By default tyro would list None as a value, and make sub-commands of a type with a dataclass.
    """
    if info.type == _NEGATIVE_PROMPT:  # one text: a list would take the prompts that follow
        return _spec(1, "STR", lambda words: words[0], shown=lambda value: [str(value)])
    if info.type == _SEED:  # one for all prompts
        return _spec(1, "INT", lambda words: int(words[0]), shown=lambda value: [str(value)])
    if info.type not in _OPTIONAL_TYPES:
        return None
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    names = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), None)
    if names is not None:
        return _spec(1, f"{{{','.join(names)}}}", lambda words: words[0], choices=names)
    if any(get_origin(kind) is tuple for kind in kinds):
        return _spec(2, "LOW HIGH", lambda words: tuple(map(float, words)))
    number = float if float in kinds else int
    metavar = number.__name__.upper()
    if len(kinds) == 1:
        return _spec(1, metavar, lambda words: number(words[0]))
    return _spec("*", f"{metavar} [{metavar} ...]", lambda words: _one_or_many(number, words))


def _one_or_many(number: type[int] | type[float], words: list[str]) -> Any:
    """Returns a number, or a tuple of several.

    Raises:
        UserError: no words.
        ValueError: a word is not a number.
    """
    if not words:
        raise UserError("at least one number expected")
    values = tuple(map(number, words))
    return values[0] if len(values) == 1 else values


def _spec(
    count: Any,
    metavar: str,
    read: Callable[[list[str]], Any],
    choices: Any = None,
    # The words of "(default: …)": the default of most of these options is None, for which the
    # model has its own value.
    shown: Callable[[Any], list[str]] = lambda value: ["automatic"],
) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs=count,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=shown,
        choices=choices,
    )


_NEGATIVE_PROMPT = get_type_hints(VideoOptions)["negative_prompt"]
_SEED = get_type_hints(VideoOptions)["seed"]
_OPTIONAL_TYPES = {
    get_type_hints(options)[field.name]
    for options in (VideoOptions, ImageOptions, RestoreOptions, InterpolateOptions)
    for field in fields(options)
    if field.default is None
}
