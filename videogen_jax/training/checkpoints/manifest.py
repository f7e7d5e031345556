"""Checksums of a checkpoint's files: Orbax restores a file with flipped bytes without an error."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

NAME = "manifest.json"

# Orbax writes these files when it commits, after the manifest; they are not read in a restore.
_NOT_COVERED = {NAME, "_CHECKPOINT_METADATA", "commit_success.txt"}


def write_manifest(directory: Path) -> None:
    """Records size and SHA-256 of every file under `directory` in its `manifest.json`."""
    (directory / NAME).write_text(_text(_describe(directory)))


def find_damage(directory: Path) -> str | None:
    """Reads all files of `directory` and returns what is wrong with the first damaged one, or None.

    The files must be exactly those that the manifest lists, with the same contents. A file that
    cannot be read is damaged.
    """
    try:
        return _find_damage(directory)
    except OSError as error:
        return f"{error.filename or directory} cannot be read: {error.strerror or error}"


def _find_damage(directory: Path) -> str | None:
    path = directory / NAME
    if not path.is_file():
        return f"{path} is missing: the checkpoint is incomplete"
    try:
        text = path.read_text(encoding="utf-8")
        recorded = json.loads(text)
        whole = isinstance(recorded, dict) and text == _text(recorded)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        return f"{path} is damaged"
    present = _files(directory)
    for name in sorted({*recorded, *present}):
        if name not in present:
            return f"{directory / name} is missing"
        if name not in recorded:
            return f"{directory / name} was not saved with the checkpoint"
        size, expected = present[name].stat().st_size, recorded[name]["bytes"]
        if size != expected:
            return f"{directory / name} has {size} bytes, saved were {expected}"
    found = _describe(directory)
    changed = [name for name in sorted(found) if found[name] != recorded[name]]
    if changed:
        return f"the content of {directory / changed[0]} differs from what was saved (sha256)"
    return None


def _files(directory: Path) -> dict[str, Path]:
    named = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.is_file()
    }
    return {name: path for name, path in named.items() if name not in _NOT_COVERED}


def _describe(directory: Path) -> dict[str, dict[str, Any]]:
    files = _files(directory)
    with ThreadPoolExecutor() as pool:  # hashing and reading release the GIL
        return dict(zip(files, pool.map(_entry, files.values()), strict=True))


def _entry(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # of a read, which does not name the file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return {"bytes": path.stat().st_size, "sha256": digest}


def _text(manifest: Mapping[str, Any]) -> str:
    """Formats the manifest in a single way, so that any change of the file is detected."""
    return json.dumps(manifest, indent=1, sort_keys=True) + "\n"
