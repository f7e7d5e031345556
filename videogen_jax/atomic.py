"""Atomic writes: a file or a folder is complete or absent."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videogen_jax.errors import UserError
from videogen_jax.paths import as_path, is_remote, upload

_LONGEST_PART = 24  # characters of a name's stem and of its suffix in the temporary name


@contextmanager
def replacing(path: str | os.PathLike[str], last: str | None = None) -> Iterator[Path]:
    """Yields a temporary sibling path for a file or a folder, and renames it to `path` afterwards.

    Parents are created. If the block raises, `path` is unchanged and the sibling is removed. A
    reader never sees a half-written file. An existing folder at `path` is replaced as a whole. The
    sibling has the suffix of `path`, because some writers choose the format by it.

    For a path in a bucket, the temporary path is a local one, which is uploaded afterwards. A
    folder then appears file by file, and `last` at the end; see `paths.upload`.

    Args:
        path: file or folder.
        last: the file of a folder that says in a bucket that the folder is complete.

    Raises:
        UserError: `path` cannot be written; names it and the reason.
    """
    path = as_path(path)
    if is_remote(path):
        with _uploading(path, last) as temporary:
            yield temporary
        return
    temporary = temporary_sibling(path)
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


@contextmanager
def _uploading(path: Path, last: str | None) -> Iterator[Path]:
    """Yields a temporary local path with the name of `path`, and uploads it afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix="videogen-") as folder:
            yield Path(folder) / path.name
            upload(Path(folder) / path.name, path, last)
    except OSError as error:
        raise _cannot_write(path, error) from error


def temporary_sibling(path: Path) -> Path:
    """Returns a new hidden name beside `path`, with its suffix.

    The name contains only the beginning of a long one, so that it is not too long if `path` is not.
    """
    # Not the process id, which repeats in containers: a killed process's file must not be reused.
    suffix = path.suffix[:_LONGEST_PART]
    stem = path.stem[:_LONGEST_PART]
    return path.with_name(f".{stem}.{secrets.token_hex(4)}{suffix}")


def require_new_directory(path: Path) -> None:
    """Raises UserError unless `path` does not exist or is an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already; give the name of a new directory")


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}")
