"""The home folder: `~` in paths, also in those that no shell has expanded."""

import os
from pathlib import Path

from videogen_jax.errors import UserError


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Returns the path with `~` or `~user` at its beginning replaced by the home folder.

    Raises:
        UserError: there is no such home folder.
    """
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
