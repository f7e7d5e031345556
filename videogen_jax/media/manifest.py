"""Manifests of folders of videos: a JSON object in each line, of which `file` names the video."""

from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json_of
from videogen_jax.text_files import read_text

MANIFEST = "manifest.jsonl"


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """Reads the manifest of a folder, of this or of another tool.

    Lines that all have an "index" are sorted by it.

    Raises:
        UserError: a line is not an object with the text "file", or its "prompt" or "index" has
            another type than text or integer; names the line.
    """
    path = folder / MANIFEST
    texts = read_text(path).removesuffix("\n").split("\n")
    lines = [parse_line(text, f"{path}, line {n}") for n, text in enumerate(texts, 1) if text]
    if all("index" in line for line in lines):
        lines.sort(key=lambda line: line["index"])
    return lines


def parse_line(text: str, where: str) -> dict[str, Any]:
    """Parses a line of a manifest; errors as for `read_manifest`."""
    line = parse_json_of(where, text)
    if not isinstance(line, dict) or not isinstance(line.get("file"), str):
        raise UserError(f'{where}: expected an object with the text "file"')
    for key, kind in (("prompt", str), ("index", int)):
        if not isinstance(line.get(key, kind()), kind):
            raise UserError(f"{where}: {key} is {line[key]!r}, expected {kind.__name__}")
    return line
