"""Pickles that run code when they are loaded by an unpickler that allows it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Exploit:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def making_folder(target: Path) -> Exploit:
    """Returns an object whose pickle creates a folder."""
    return Exploit(os.mkdir, str(target))
