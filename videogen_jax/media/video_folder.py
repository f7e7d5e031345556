"""A folder of videos with a manifest, which several processes may fill and a later run completes.

folder/
  request.json      what all its videos have in common, such as the model and the options
  manifest.jsonl    {"index": 3, "prompt": "a ring", "seed": 7, "file": "00003.mp4", ...}, ...
  00003.mp4         whole, or absent
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json, read_json_object
from videogen_jax.locking import hold_lock
from videogen_jax.media.video import Video

MANIFEST, REQUEST = "manifest.jsonl", "request.json"
_KEYS = ("index", "prompt", "seed", "file")
_PATIENCE = 60.0  # seconds that a process waits for the others, which write a line each


class VideoFolder:
    """Writes videos into a folder, each with a line of its manifest.

    Opening it creates the folder, or continues one: what a killed process left of a line is
    removed. A video whose line is missing counts as absent and is replaced.

    Args:
        path: the folder.
        request: what all its videos have in common, as JSON can have it.

    Raises:
        UserError: the folder has other videos than those of `request` (names the differences), its
            manifest is damaged, or it cannot be written.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]):
        self.path = path
        with self._locked():
            self._check_request(json.loads(json.dumps(request)))
            self._write(self._read())

    def entries(self) -> dict[int, dict[str, Any]]:
        """Returns the lines of the manifest by index, of videos that exist."""
        with self._locked():
            entries = self._read()
        return {i: entry for i, entry in entries.items() if (self.path / entry["file"]).exists()}

    def add(self, entry: Mapping[str, Any], video: Video) -> None:
        """Writes a video, atomically, and then its line.

        Args:
            entry: the line, with "index", "prompt", "seed", "file" (a name in the folder, whose
                suffix is the format) and any other keys.
            video: the video.

        Raises:
            UserError: the video or the line cannot be written.
        """
        if missing := [key for key in _KEYS if key not in entry]:
            raise ValueError(f"a line of {MANIFEST} needs {', '.join(missing)}")
        video.save(self.path / entry["file"])
        try:
            with self._locked():
                self._append(json.dumps(dict(entry), ensure_ascii=False))
        except OSError as error:
            raise UserError(f"cannot write {self._manifest}: {error.strerror}") from error

    def close(self) -> None:
        """Sorts the manifest by index."""
        with self._locked():
            self._write(self._read())

    @property
    def _manifest(self) -> Path:
        return self.path / MANIFEST

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with hold_lock(self.path / ".lock", f"the folder {self.path}", wait=_PATIENCE):
            yield

    def _append(self, line: str) -> None:
        with self._manifest.open("rb+") as file:
            content = file.read()
            file.seek(content.rfind(b"\n") + 1)  # before the beginning of a killed process's line
            file.truncate()
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def _check_request(self, request: dict[str, Any]) -> None:
        path = self.path / REQUEST
        if not path.exists():
            others = sorted(file.name for file in self.path.iterdir() if file.name[0] != ".")
            if others:
                raise UserError(
                    f"{self.path} has no {REQUEST}, but other files, such as {others[0]}; "
                    "give a new folder"
                )
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8")
            return
        there = read_json_object(path)
        keys = sorted(there.keys() | request.keys())
        if wrong := [key for key in keys if there.get(key) != request.get(key)]:
            key = wrong[0]
            raise UserError(
                f"{self.path} has videos of another request: {key} is {there.get(key)!r} in "
                f"{REQUEST}, not {request.get(key)!r}; give a new folder"
            )

    def _read(self) -> dict[int, dict[str, Any]]:
        """Reads the lines by index, without an incomplete last one."""
        if not self._manifest.exists():
            return {}
        lines = self._manifest.read_text(encoding="utf-8", errors="replace").split("\n")
        entries = {}
        for number, line in enumerate(lines[:-1], start=1):  # the last one is empty or incomplete
            entry = _parse(line)
            if entry is None:
                raise UserError(f"{self._manifest} is damaged: line {number} is {line!r}")
            entries[entry["index"]] = entry
        return entries

    def _write(self, entries: Mapping[int, Mapping[str, Any]]) -> None:
        lines = [json.dumps(entries[index], ensure_ascii=False) for index in sorted(entries)]
        with replacing(self._manifest) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    is_entry = isinstance(entry, dict) and all(key in entry for key in _KEYS)
    return entry if is_entry and isinstance(entry["index"], int) else None
