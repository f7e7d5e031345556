"""Writing the page of a user study, and the key that says which video is whose.

The page contains neither the folders' names nor the seed, and the files beside it have random
names. The key is written beside the page's folder, not into it.
"""

import base64
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from videogen_jax.atomic import replacing, require_new_directory
from videogen_jax.errors import UserError
from videogen_jax.evaluation.study.pairs import MEDIA_TYPES, Pair, make_pairs, study_id

QUESTIONS = {
    "quality": "Which video is of higher quality?",
    "alignment": "Which video better represents the provided text prompt?",
}
"""The questions of §4.4, as the paper has them."""
KEY_KIND, VOTES_KIND = "videogen study key", "videogen study votes"
VIDEOS = "videos"
LARGEST_PAGE = 2**28  # bytes of embedded videos: browsers take long to load more
_MIB = 2**20


@dataclass(frozen=True)
class Study:
    """The files of a study."""

    page: Path
    key: Path
    pairs: int


def write_study(
    a: Path,
    b: Path,
    out: Path,
    *,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    embed: bool = True,
) -> Study:
    """Writes `index.html` into the new folder `out`, and the key as `out` + `-key.json`.

    Args:
        a: Folder of videos.
        b: Folder of videos with the same names.
        out: A new folder.
        seed: Of order and sides.
        names: What A and B are called in the tally; by default their folders' names.
        embed: Whether the videos are part of the page; if not, they are copied beside it.

    Raises:
        MissingFile: A folder does not exist.
        UserError: As `make_pairs`; or `out` or its key exist, the names are the same, or the
            videos are too large to be embedded.
    """
    require_new_directory(out)
    key_path = out.with_name(f"{out.name}-key.json")
    if key_path.exists():
        raise UserError(f"{key_path} exists already; give another --out")
    names = names or (a.resolve().name, b.resolve().name)
    if names[0] == names[1]:
        raise UserError(f"A and B are both called {names[0]!r}: name them, --names A B")
    pairs = make_pairs(a, b, seed)
    if embed:
        _check_size(pairs)
    identity = study_id(pairs)
    with replacing(out) as temporary:
        temporary.mkdir()
        with (temporary / "index.html").open("w", encoding="utf-8") as file:
            _write_page(file, identity, pairs, None if embed else temporary)
        _write_key(key_path, identity, pairs, names)
    return Study(out / "index.html", key_path, len(pairs))


def _check_size(pairs: Sequence[Pair]) -> None:
    size = sum(file.stat().st_size for pair in pairs for file in pair.files)
    if size > LARGEST_PAGE:
        raise UserError(
            f"the videos have {size / _MIB:.0f} MiB, more than the {LARGEST_PAGE // _MIB} that a "
            "page may embed: add --no-embed"
        )


def _write_key(path: Path, identity: str, pairs: Sequence[Pair], names: tuple[str, str]) -> None:
    key = {
        "kind": KEY_KIND,
        "study": identity,
        "names": {"a": names[0], "b": names[1]},
        "pairs": [
            {"name": pair.name, "prompt": pair.prompt, "a_is_first": pair.a_is_first}
            for pair in pairs
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(key, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _write_page(file: TextIO, identity: str, pairs: Sequence[Pair], beside: Path | None) -> None:
    """Writes the page video by video, so that it is never in memory as a whole."""
    before, after = _template().split("{{STUDY}}")
    file.write(before)
    head = {"kind": VOTES_KIND, "study": identity, "questions": QUESTIONS}
    file.write(_script_json(head)[:-1] + ', "pairs": [')
    for number, pair in enumerate(pairs):
        sources = [_source(path, beside) for path in pair.files]
        file.write(", " if number else "")
        file.write(_script_json({"prompt": pair.prompt, "videos": sources}))
    file.write("]}" + after)


def _source(path: Path, beside: Path | None) -> dict[str, str]:
    suffix = path.suffix.lower()
    source = {"type": MEDIA_TYPES[suffix]}
    if beside is None:
        return source | {"data": base64.b64encode(path.read_bytes()).decode()}
    name = f"{VIDEOS}/{secrets.token_hex(8)}{suffix}"
    (beside / VIDEOS).mkdir(exist_ok=True)
    shutil.copyfile(path, beside / name)
    return source | {"file": name}


def _script_json(value: Any) -> str:
    """Returns JSON that does not end the script element that it is in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _template() -> str:
    """Returns the page with its style and script, and `{{STUDY}}` in place of the study."""
    folder = resources.files("videogen_jax.evaluation.study") / "assets"
    html, style, script = (
        (folder / name).read_text("utf-8") for name in ("page.html", "page.css", "page.js")
    )
    return html.replace("{{STYLE}}", style).replace("{{SCRIPT}}", script)
