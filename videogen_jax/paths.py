"""Paths of runs, models, data sets and caches: in the file system, or in a bucket by their URL.

A path in a bucket is a `UPath` of universal_pathlib, which has pathlib's methods for every scheme
that fsspec knows (`gs://`, `s3://`, …). It is annotated as `Path`. What object storage cannot do
(renaming, appending, mapping a file into memory) goes through the functions below: writers write a
local file that is uploaded as a whole (`upload`, by `atomic.replacing`), and readers that need a
file system get a copy (`local_copy`).
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from videogen_jax.errors import MissingFile, UserError, first_line

AnyPath = str | os.PathLike[str]

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_ABOUT = "docs/how-to/buckets.md has the credentials and packages that a bucket needs"
# What changes if an object is written again, the most exact first; the names are those of fsspec's
# file systems.
_VERSIONS = ("generation", "ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
_TRANSFERS = 8  # at a time


def is_remote(path: Any) -> bool:
    """Returns whether a path is a URL, or the path that `as_path` makes of one."""
    if isinstance(path, str):
        return _URL.match(path) is not None and not path.startswith("file://")
    return not isinstance(path, os.PathLike) and hasattr(path, "protocol")


def as_path(path: AnyPath) -> Path:
    """Returns the path of a file or folder, given by its name, its URL, or as a path.

    Nothing is read or written.

    Raises:
        UserError: no file system for the URL's scheme is installed.
        ModuleNotFoundError: universal_pathlib is not installed.
    """
    if not is_remote(path):
        return Path(path.removeprefix("file://") if isinstance(path, str) else path)
    if not isinstance(path, str):
        return path  # pyright: ignore[reportReturnType] -- it is a UPath
    from upath import UPath

    try:
        # Other processes write too, so a listing must not be kept.
        remote = UPath(path, use_listings_cache=False)
        _ = remote.fs
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be opened: {first_line(error)}; {_ABOUT}") from error
    return cast(Path, remote)


def require_reachable(path: Path) -> None:
    """Checks that storage answers for a path in a bucket, whether or not something is there.

    Raises:
        UserError: it does not, for example because there are no credentials; names the path.
    """
    if is_remote(path):
        with _explained(path), contextlib.suppress(FileNotFoundError):
            _fs(path).info(_key(path))


def require_local(path: AnyPath, what: str) -> None:
    """Raises UserError if a path is in a bucket. `what` names it in the message."""
    if is_remote(path):
        raise UserError(f"{what} is {path}, expected a path of this machine; {_ABOUT}")


def read_range(path: Path, start: int, size: int) -> bytes:
    """Reads `size` bytes of an object in a bucket from position `start` on, or fewer at its end."""
    with _explained(path):
        return _fs(path).cat_file(_key(path), start=start, end=start + size)


def upload(local: Path, remote: Path, last: str | None = None) -> None:
    """Writes a local file or folder to a bucket. Each object appears as a whole.

    A folder has no single moment at which it appears: its file `last`, a path within it, is written
    last and, if the folder exists already, removed first. Readers take a folder without it for
    incomplete.

    Raises:
        UserError: the bucket cannot be written; names the path.
    """
    with _explained(remote):
        fs, key = _fs(remote), _key(remote)
        if local.is_file():
            fs.put_file(str(local), key)
            return
        remove(remote, first=last)
        names = [path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()]
        put = lambda name: fs.put_file(str(local / name), f"{key}/{name}")
        with ThreadPoolExecutor(_TRANSFERS) as pool:
            list(pool.map(put, [name for name in names if name != last]))
        if last in names:
            put(last)


def is_whole(folder: Path, last: str) -> bool:
    """Returns whether a folder that `atomic.replacing` writes is there as a whole.

    Args:
        folder: the folder.
        last: the file that is uploaded last to a bucket.
    """
    return (folder / last).is_file() if is_remote(folder) else folder.is_dir()


def remove(remote: Path, first: str | None = None) -> None:
    """Removes a file or folder of a bucket, if it exists; `first` is the file to remove first."""
    fs, key = _fs(remote), _key(remote)
    with _explained(remote), contextlib.suppress(FileNotFoundError):
        if first is not None and fs.exists(f"{key}/{first}"):
            fs.rm_file(f"{key}/{first}")
        fs.rm(key, recursive=True)


def move(remote: Path, target: Path) -> None:
    """Renames a folder of a bucket, file by file; a folder that is at `target` is removed."""
    remove(target)
    with _explained(remote):
        fs, key = _fs(remote), _key(remote)
        for name in fs.find(key):
            fs.cp_file(name, _key(target) + name.removeprefix(key))
    remove(remote)


def local_copy(path: Path, within: Path | None = None) -> Path:
    """Returns a local file or folder with the content of `path`, which is itself if it is local.

    The copy of a path in a bucket is made once for each version of its content, and is complete or
    absent. Several processes may make it at the same time.

    Args:
        path: a file or a folder.
        within: the folder of the copies; by default `copies_folder`, where they stay.

    Raises:
        MissingFile: nothing is there.
        UserError: it cannot be read; names it.
    """
    if not is_remote(path):
        return path
    with _explained(path):
        fs, key = _fs(path), _key(path)
        found = fs.find(key, detail=True)
        if not found:
            raise MissingFile(f"{path}: no such file or folder")
        version = _digest(*sorted(f"{name} {_version(info)}" for name, info in found.items()))
        target = (within or copies_folder()) / _digest(str(path)) / version / path.name
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as folder:
            temporary = Path(folder) / path.name
            places = {name: temporary / name.removeprefix(key).lstrip("/") for name in found}
            if set(found) == {key}:
                places = {key: temporary}
            for place in {place.parent for place in places.values()}:
                place.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(_TRANSFERS) as pool:
                list(pool.map(lambda name: fs.get_file(name, str(places[name])), places))
            with contextlib.suppress(OSError):  # another process was quicker
                os.replace(temporary, target)
    return target


def copy_folder(source: Path, target: Path) -> None:
    """Copies the files of a folder, from and to anywhere; files that exist are replaced."""
    source = local_copy(source)
    if not is_remote(target):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    for file in source.rglob("*"):
        if file.is_file():
            upload(file, target / file.relative_to(source).as_posix())


def copies_folder() -> Path:
    """Returns the folder of copies of what is in buckets, which stay until they are deleted."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(cache).expanduser() / "videogen_jax" / "buckets"
    except RuntimeError:  # no home folder
        return temporary_folder()


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="videogen-")


def temporary_folder() -> Path:
    """Returns a folder that is deleted when this process ends."""
    return Path(_temporary().name)


def _version(info: dict[str, Any]) -> str:
    found = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return f"{info.get('size')} {found}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _fs(path: Any) -> Any:
    return path.fs


def _key(path: Any) -> str:
    return path.path.rstrip("/")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Converts the errors of a bucket, of which each file system has its own, to UserErrors."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"{path}: {first_line(error)}") from error
    except Exception as error:
        raise UserError(f"{path} cannot be used: {first_line(error)}; {_ABOUT}") from error
