"""Paths as a user writes them: `~` that no shell has expanded, and URLs of buckets."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen_jax.errors import UserError
from videogen_jax.paths import as_path, is_remote

if TYPE_CHECKING:
    from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

# Flags of texts: `~` at their beginning is not the home folder.
_TEXT_FLAGS = ("--negative-prompt", "--image-prompt")


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Returns the path with `~` or `~user` at its beginning replaced by the home folder.

    A URL becomes a path in a bucket; see `paths.as_path`.

    Raises:
        UserError: there is no such home folder, or the bucket's packages are not installed.
    """
    if is_remote(path):
        return as_path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no home folder for ~") from error


def home() -> Path | None:
    """Returns the home folder, or None if neither HOME nor the list of users has one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def path_of_home(info: "PrimitiveTypeInfo") -> "PrimitiveConstructorSpec[Any] | None":
    """Returns how tyro parses a `Path`, with `~` as the home folder; None for other types."""
    from tyro.constructors import PrimitiveConstructorSpec

    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: expand_home(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def with_home(arguments: Sequence[str]) -> list[str]:
    """Replaces `~` in the values of flags, some of which are paths of type `str`."""
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        before = flag or (words[-1] if words else "")
        is_value = re.fullmatch("--[^=]+", before) and before.replace("_", "-") not in _TEXT_FLAGS
        if is_value and (value == "~" or value.startswith("~/")):
            word = f"{flag}{equals}{expand_home(value)}"
        words.append(word)
    return words
