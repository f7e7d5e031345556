"""Listing of the video files below a folder, through links to other folders."""

import heapq
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg "
    ".mpg .mts .mxf .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)


def walk(folder: Path) -> Iterator[Path]:
    """Yields everything below a folder that is not a folder; links to folders are followed.

    Each folder is listed once, however many links lead to it: under its own path if that is below
    `folder`, otherwise under the first link to it. So links in a circle end. A folder that cannot
    be read is reported.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [folder], []
    while folders or links:  # links last, in a fixed order
        for entry in _entries(folders.pop() if folders else heapq.heappop(links), seen):
            path = Path(entry.path)
            if not os.path.isdir(path):
                yield path
            elif entry.is_symlink():
                heapq.heappush(links, path)
            else:
                folders.append(path)


def _entries(folder: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder that is not yet among those `seen`, and adds it to them."""
    try:
        status = os.stat(folder)
        if (key := (status.st_dev, status.st_ino)) in seen:
            return []
        seen.add(key)
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        _log.warning("%s cannot be read and is left out: %s", folder, error.strerror)
        return []


def video_files(folder: Path, suffixes: Iterable[str] = VIDEO_SUFFIXES) -> list[Path]:
    """Returns the files below a folder that have a suffix of videos, sorted by path.

    The number of other files is reported for each suffix, except captions beside a video. Hidden
    files are left out.
    """
    suffixes, files, others = frozenset(suffixes), [], []
    for path in walk(folder):
        taken = path.suffix.lower() in suffixes and not path.name.startswith(".")
        (files if taken else others).append(path)
    captions = {file.with_suffix(suffix) for file in files for suffix in (".txt", ".json")}
    counts = Counter(_kind(path) for path in others if path not in captions)
    if counts:
        text = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
        _log.info("%s: files that are not taken as videos: %s", folder, text)
    return sorted(files)


def _kind(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    return path.suffix.lower() or "without suffix"
