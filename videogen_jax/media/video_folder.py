"""A folder of videos with a manifest, which several processes may fill and a later run completes.

folder/
  request.json      what all its videos have in common, such as the model and the options
  manifest.jsonl    {"index": 3, "prompt": "a ring", "seed": 7, "file": "00003.mp4", ...}, ...
  00003.mp4         whole, or absent; a name without suffix is a folder of PNG frames
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.locking import hold_lock
from videogen_jax.media.manifest import MANIFEST, parse_line
from videogen_jax.media.video import Video
from videogen_jax.settings_file import require_settings

REQUEST = "request.json"
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
            self._check_request(request)
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
                suffix is the format, as of `Video.save`) and any other keys. The video's "fps" and
                number of "frames" are added.
            video: the video.

        Raises:
            UserError: the video or the line cannot be written.
        """
        if missing := [key for key in _KEYS if key not in entry]:
            raise ValueError(f"a line of {MANIFEST} needs {', '.join(missing)}")
        video.save(self.path / entry["file"])
        line = {**entry, "fps": video.fps, "frames": len(video.frames)}
        try:
            with self._locked():
                self._append(json.dumps(line, ensure_ascii=False))
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

    def _check_request(self, request: Mapping[str, Any]) -> None:
        path = self.path / REQUEST
        others = sorted(file.name for file in self.path.iterdir() if file.name[0] != ".")
        if others and REQUEST not in others:
            raise UserError(
                f"{self.path} has no {REQUEST}, but other files, such as {others[0]}; "
                "give a new folder"
            )
        require_settings(path, request, "the videos were begun")

    def _read(self) -> dict[int, dict[str, Any]]:
        """Reads the lines by index, without an incomplete last one."""
        if not self._manifest.exists():
            return {}
        lines = self._manifest.read_text(encoding="utf-8", errors="replace").split("\n")
        entries = {}
        for number, text in enumerate(lines[:-1], start=1):  # the last one is empty or incomplete
            where = f"{self._manifest}, line {number}"
            entry = parse_line(text, where)
            if missing := [key for key in _KEYS if key not in entry]:
                raise UserError(f"{where}: there is no {', '.join(missing)}")
            entries[entry["index"]] = entry
        return entries

    def _write(self, entries: Mapping[int, Mapping[str, Any]]) -> None:
        lines = [json.dumps(entries[index], ensure_ascii=False) for index in sorted(entries)]
        with replacing(self._manifest) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
