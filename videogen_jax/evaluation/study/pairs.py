"""Pairs of videos of two folders, in random order and on random sides (§4.4)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.media.manifest import MANIFEST, read_manifest
from videogen_jax.text_files import read_text

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""The videos that browsers play, by suffix."""
_CODECS = ("h264", "vp8", "vp9", "av1")
_NAMED = 3


@dataclass(frozen=True)
class Pair:
    """Two videos of one prompt, in the order in which a page shows them.

    Attributes:
        name: file name without suffix, the same in both folders.
        prompt: the text that both were generated from.
        files: the first and the second video that the page shows.
        a_is_first: whether the first one is from folder A.
    """

    name: str
    prompt: str
    files: tuple[Path, Path]
    a_is_first: bool


def make_pairs(a: Path, b: Path, seed: int) -> list[Pair]:
    """Matches the videos of two folders by name; shuffles the pairs and their sides.

    A is first in half of the pairs, so that nobody who prefers one side favours A or B.

    Raises:
        MissingFile: A folder does not exist.
        UserError: A folder has no videos, the names differ, a file cannot be read or played by a
            browser, or a prompt is not known or not the same in both; names the files.
    """
    videos_a, videos_b = videos_of(a), videos_of(b)
    _check_names(a, videos_a, b, videos_b)
    prompts = _prompts(a, videos_a, b, videos_b)
    for path in (*videos_a.values(), *videos_b.values()):
        check_playable(path)
    rng = np.random.default_rng(seed)
    names = [sorted(videos_a)[i] for i in rng.permutation(len(videos_a))]
    firsts = rng.permutation((np.arange(len(names)) + rng.integers(2)) % 2 == 0)
    return [
        Pair(name, prompts[name], _ordered(videos_a[name], videos_b[name], first), bool(first))
        for name, first in zip(names, firsts, strict=True)
    ]


def _ordered(a: Path, b: Path, a_is_first: bool) -> tuple[Path, Path]:
    return (a, b) if a_is_first else (b, a)


def study_id(pairs: Sequence[Pair]) -> str:
    """Returns a checksum of the pairs, their order and sides, and the contents of their files."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.name, pair.prompt]).encode())
        for file in pair.files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def videos_of(folder: Path) -> dict[str, Path]:
    """Returns the videos of a folder by file name without suffix.

    Raises:
        MissingFile: There is no such folder.
        UserError: It has none, or two of the same name.
    """
    if not folder.is_dir():
        raise MissingFile(f"no folder {folder}")
    videos: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in MEDIA_TYPES or path.name.startswith("."):
            continue
        if path.stem in videos:
            raise UserError(
                f"{folder}: {videos[path.stem].name} and {path.name} have the same name, expected "
                "one video of each"
            )
        videos[path.stem] = path
    if not videos:
        raise UserError(f"{folder}: no videos there; expected files in {' '.join(MEDIA_TYPES)}")
    return videos


def check_playable(path: Path) -> None:
    """Raises UserError unless a file's first frame can be read and browsers play its codec."""
    import av
    from PIL import Image

    try:
        if MEDIA_TYPES[path.suffix.lower()].startswith("image/"):
            with Image.open(path) as image:
                image.load()
            return
        with av.open(str(path)) as container:
            next(container.decode(video=0))
            codec = container.streams.video[0].codec_context.name
    except (OSError, EOFError, ValueError, IndexError, StopIteration, SyntaxError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read as a video: {reason}") from error
    if not codec.removeprefix("lib").startswith(_CODECS):
        raise UserError(f"{path}: browsers do not play {codec}, expected {', '.join(_CODECS)}")


def _check_names(
    a: Path, videos_a: Mapping[str, Path], b: Path, videos_b: Mapping[str, Path]
) -> None:
    parts = []
    for here, videos, there, others in ((a, videos_a, b, videos_b), (b, videos_b, a, videos_a)):
        if missing := sorted(set(videos) - set(others)):
            some = ", ".join(videos[name].name for name in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            parts.append(f"{there} has none for {some}{more} of {here}")
    if parts:
        raise UserError(f"videos are paired by name: {'; '.join(parts)}")


def _prompts(
    a: Path, videos_a: Mapping[str, Path], b: Path, videos_b: Mapping[str, Path]
) -> dict[str, str]:
    known_a, known_b = _known_prompts(a, videos_a), _known_prompts(b, videos_b)
    prompts = {**known_b, **known_a}
    for name in sorted(videos_a):
        if name not in prompts:
            raise UserError(
                f"no prompt is known for {videos_a[name]}: expected {name}.txt beside it, or a "
                f'line {{"file": "{videos_a[name].name}", "prompt": …}} of {MANIFEST} in its folder'
            )
        if known_b.get(name, prompts[name]) != prompts[name]:
            raise UserError(
                f"{videos_a[name]} and {videos_b[name]} have other prompts: {known_a[name]!r} and "
                f"{known_b[name]!r}"
            )
    return prompts


def _known_prompts(folder: Path, videos: Mapping[str, Path]) -> dict[str, str]:
    """Returns the prompts of a folder's manifest, and of texts beside its videos."""
    lines = read_manifest(folder) if (folder / MANIFEST).is_file() else []
    known = (line for line in lines if "prompt" in line)
    prompts = {Path(line["file"]).stem: line["prompt"].strip() for line in known}
    for name, path in videos.items():
        text = path.with_suffix(".txt")
        if text.is_file():
            prompts[name] = read_text(text).strip()
    return {name: prompt for name, prompt in prompts.items() if prompt}
