"""The manifest of a model directory: the size and the checksum of every file.

A component is listed by its name ("stage_1" for `stage_1.safetensors`), any other file by its path
in the directory ("config.json", "tokenizer/merges.txt"). Directories of earlier versions list only
components.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from videogen_jax.atomic import replacing
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.weights.config_file import from_dict, to_dict

MANIFEST = "manifest.json"
SUFFIX = ".safetensors"  # of components

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """An entry of the manifest: the size and the checksum of a file."""

    bytes: int
    sha256: str


def describe(path: Path) -> Saved:
    """Reads a file and returns its entry."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Saved(path.stat().st_size, checksum)


def read_manifest(directory: Path) -> dict[str, Saved]:
    """Reads the entries by name; {} if there is no manifest yet."""
    path = directory / MANIFEST
    if not path.exists():
        return {}
    try:
        data = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return {name: from_dict(entry, Saved, where=f"{path}, {name}") for name, entry in data.items()}


def write_manifest(directory: Path, entries: Mapping[str, Saved]) -> None:
    """Writes the entries, atomically."""
    data = {name: to_dict(saved) for name, saved in sorted(entries.items())}
    with replacing(directory / MANIFEST) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n")


def record_files(directory: Path) -> None:
    """Adds every file that is not a component to the manifest, as it is now.

    `model_dir.save_component` adds components.
    """
    entries = read_manifest(directory)
    entries |= {name: describe(path) for name, path in _other_files(directory)}
    write_manifest(directory, entries)


def check_files(directory: Path) -> None:
    """Checks that all files of the manifest exist, and the content of those but components.

    The components, which are large, are checked when they are read. Files without an entry are
    named by a warning.

    Raises:
        MissingFile: a file is missing.
        UserError: a file differs from the saved one, or the manifest is damaged.
    """
    entries = read_manifest(directory)
    for name, saved in entries.items():
        path = _file(directory, name)
        if not path.is_file():
            raise MissingFile(f"{path} is missing; {MANIFEST} lists it")
        if path.suffix != SUFFIX:
            verify(path, saved)
    unlisted = [name for name, _ in _other_files(directory) if name not in entries]
    read = [name for name in unlisted if name == "config.json" or name.startswith("tokenizer/")]
    if read:
        _log.warning(
            "%s has no checksums of %s, which are not checked: written by an earlier version",
            directory / MANIFEST,
            ", ".join(read),
        )


def verify(path: Path, saved: Saved | None) -> None:
    """Raises UserError unless the file is the one that the manifest describes."""
    if saved is None:
        raise UserError(without_checksum(path))
    size = path.stat().st_size
    if size != saved.bytes:
        raise UserError(f"{path} is damaged: it has {size} bytes, saved were {saved.bytes}")
    if describe(path).sha256 != saved.sha256:
        raise UserError(
            f"{path} is damaged: its content differs from what was saved (sha256 in {MANIFEST})"
        )


def without_checksum(path: Path) -> str:
    """Returns the message about a component that has no entry."""
    return f"{path} has no checksum in {MANIFEST}; was it saved by this library?"


def _other_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yields the entry's name and the path of every file but components and hidden files."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        is_component = path.suffix == SUFFIX and "/" not in name
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not is_component and not is_hidden and name != MANIFEST:
            yield (name if "/" in name or "." in name else f"./{name}"), path


def _file(directory: Path, name: str) -> Path:
    return directory / (name if "/" in name or "." in name else name + SUFFIX)
