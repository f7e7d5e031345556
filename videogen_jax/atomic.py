"""Files that exist whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videogen_jax.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary sibling to write a file or a folder at, and renames it to `path` after.

    Parents are created. If the block raises, `path` is as it was and the sibling is gone; a reader
    never sees a half-written file. An existing folder at `path` is replaced as a whole. The sibling
    ends like `path`, so that writers which look at the suffix work.

    Raises:
        UserError: `path` cannot be written; names it and the reason.
    """
    path = Path(path)
    # Not the process id, which containers repeat: what a killed process left must not be taken up.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def require_new_directory(path: Path) -> None:
    """Raises UserError if there is anything at `path` but an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already; give the name of a new directory")


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}")
