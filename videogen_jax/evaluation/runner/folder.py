"""A folder of generated videos, and the manifest by which any tool can read it.

videos/
  settings.json     what the videos were generated with; a call with other settings is refused
  000000/           video 0 as PNG frames (frame_0000.png, ...), or
  000000.mp4        as H.264
  manifest.jsonl    a line for each video, written when all of them are complete:
    {"index": 0, "file": "000000", "prompt": "...", "seed": 0, "fps": 8.0, "frames": 16}
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from videogen_jax.atomic import replacing
from videogen_jax.data.clips.sources.text_rows import read_text
from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json, read_json_object
from videogen_jax.media.video_folder import MANIFEST
from videogen_jax.weights.config_file import differing_fields

SETTINGS = "settings.json"
Format = Literal["png", "mp4"]


@dataclass(frozen=True)
class Entry:
    """A line of the manifest.

    Attributes:
        index: Number of the video, from 0.
        file: The video file, or the folder of its frames, relative to the manifest's folder.
        prompt: Its caption; "" without one.
        seed: Seed of its noise, None if unknown.
        fps: Frames per second, None if unknown.
        frames: Number of frames, None if unknown.
    """

    index: int
    file: str
    prompt: str = ""
    seed: int | None = None
    fps: float | None = None
    frames: int | None = None


def video_name(index: int, form: Format) -> str:
    """Returns the name of a video in the folder."""
    return f"{index:06d}" + ("" if form == "png" else f".{form}")


def write_manifest(folder: Path, entries: Iterable[Entry]) -> None:
    """Writes the manifest, atomically."""
    with replacing(folder / MANIFEST) as temporary, temporary.open("w") as file:
        for entry in entries:
            file.write(json.dumps(asdict(entry)) + "\n")


def read_manifest(folder: Path) -> list[Entry]:
    """Reads the manifest of a folder, of this or of another tool: `file` is its only required key.

    Raises:
        UserError: A line is not an object with these fields, or names a file outside the folder or
            none; names the line.
    """
    entries = []
    for number, text in enumerate(read_text(folder / MANIFEST).splitlines()):
        where = f"{folder / MANIFEST}, line {number + 1}"
        try:
            line = parse_json(text)
        except ValueError as error:
            raise UserError(f"{where}: not JSON: {error}") from error
        file = line.get("file") if isinstance(line, dict) else None
        prompt = line.get("prompt", "") if isinstance(line, dict) else None
        if not isinstance(file, str) or not isinstance(prompt, str):
            raise UserError(f"{where}: expected an object with the texts file and prompt")
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{where}: {file} is not in the folder")
        if not path.exists():
            raise UserError(f"{where}: there is no {path}")
        entries.append(Entry(number, file, prompt, line.get("seed"), line.get("fps")))
    if not entries:
        raise UserError(f"{folder / MANIFEST} has no videos")
    return entries


def require_settings(path: Path, settings: dict[str, Any], what: str) -> None:
    """Writes settings, or checks that those that are there are the same.

    Raises:
        UserError: They differ; lists the fields.
    """
    if not path.exists():
        with replacing(path) as temporary:  # every process writes the same
            temporary.write_text(json.dumps(settings, indent=2) + "\n")
        return
    there = read_json_object(path)
    if lines := list(differing_fields(there=there, now=settings).values()):
        message = f"{path}: {what} with other settings; use another --out. Differing fields:"
        raise UserError("\n".join([message, *lines]))
