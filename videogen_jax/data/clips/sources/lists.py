"""Lists of clips: csv, tsv, jsonl, and folders with captions beside the clips.

All readers of sources (see the table in `layouts.py`) share `ClipRef`, a clip to ingest, and
`SourceOptions`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen_jax.data.clips.sources.listing import VIDEO_SUFFIXES, video_files
from videogen_jax.data.clips.sources.text_rows import (
    captions_of,
    csv_rows,
    require,
    require_finite,
    require_text,
    seconds,
    texts_of,
)
from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json_of
from videogen_jax.text_files import read_text


@dataclass(frozen=True)
class SourceOptions:
    """How a source of clips and captions is read.

    Attributes:
        layout: auto, or csv (also with tabs or semicolons), jsonl, folder, webvid, ucf101, msrvtt
            or tfds.
        clips: folder to which paths of a list are relative; by default the list's own folder.
        path_column: column of the paths in a .csv, .tsv or .jsonl list, which may also have the
            columns start and end (seconds or hh:mm:ss.s) and id.
        caption_column: column of the captions in such a list.
        split: split of UCF-101 (train, test), MSR-VTT (train, validate, test; empty for all) or
            TFDS.
        fold: one of UCF-101's three folds, 1 to 3.
        prompts: JSON file of UCF-101 captions by class name; without it, the class name in words.
        video_key: the feature of a TFDS dataset with a video file's bytes.
        tfds_caption_key: the feature with its caption.
    """

    layout: str = "auto"
    clips: str | None = None
    path_column: str = "path"
    caption_column: str = "caption"
    split: str = ""
    fold: int = 1
    prompts: str | None = None
    video_key: str = "video"
    tfds_caption_key: str = "caption"


@dataclass(frozen=True)
class ClipRef:
    """One clip to ingest.

    Attributes:
        row: line in a .csv or .jsonl list, otherwise the position in the source, from 1.
        id: name of the record.
        path: the video file, or the folder of a TFDS dataset.
        captions: any number of captions.
        start, end: bounds of the part to take, in seconds, or None.
        index: number of the example in a TFDS dataset, or None.
    """

    row: int
    id: str
    path: str
    captions: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    index: int | None = None


def read_csv(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    """Reads the rows of a list with a header line."""
    for line, row in csv_rows(path, (options.path_column, options.caption_column)):
        yield _listed(options, path, line, row)


def read_jsonl(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    """Reads the lines of a list of JSON objects; a caption may be a list of several."""
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                row = parse_json_of(f"{path}, line {line}", text)
                yield _listed(options, path, line, row)


def read_folder(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    """Lists all video files below a folder, sorted by path, with the captions beside them.

    Links to folders are followed; the number of files that are not videos is reported by suffix.
    """
    files = video_files(path)
    if not files:
        raise UserError(
            f"{path}: no clips there; expected files ending in {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    for row, file in enumerate(files, 1):
        name = file.relative_to(path).as_posix()
        if any("\udc80" <= letter <= "\udcff" for letter in name):
            raise UserError(f"{path}: the file name {name!r} is not UTF-8; rename it")
        yield ClipRef(row, name, str(file), _captions_beside(file))


def root_of(path: Path, options: SourceOptions) -> Path:
    """Returns the folder to which paths of a list are relative."""
    root = Path(options.clips) if options.clips else (path if path.is_dir() else path.parent)
    return root.absolute()


def _listed(options: SourceOptions, file: Path, line: int, row: dict[str, Any]) -> ClipRef:
    """Returns the clip of a row of a csv or jsonl list."""
    where = f"{file}, line {line}"
    require(row, (options.path_column, options.caption_column), where)
    name = row[options.path_column]
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: {options.path_column} must name a file, got {name!r}")
    require_text(name, options.path_column, where)
    start, end = (seconds(row, key, where) for key in ("start", "end"))
    require_finite(row, "fps", where)  # not used: the rate is the file's own
    if (start or 0) < 0 or (end is not None and end <= (start or 0)):
        raise UserError(f"{where}: need 0 <= start < end, got {start} and {end}")
    captions = captions_of(row[options.caption_column], options.caption_column, where)
    clip_id = _id_of(row.get("id"), f"{Path(name).stem}-{line}", where)
    return ClipRef(line, clip_id, str(root_of(file, options) / name), captions, start, end)


def _id_of(value: Any, default: str, where: str) -> str:
    """Returns the id of a row; the default has its line, because rows may have the same file."""
    if value in (None, ""):
        return default
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where}: id must be a text or a number, got {value!r}")
    if isinstance(value, float):
        require_finite({"id": value}, "id", where)
    require_text(str(value), "id", where)
    return str(value)


def _captions_beside(file: Path) -> tuple[str, ...]:
    """Returns the captions for `clip.mp4`: the lines of `clip.txt`, or "caption" of `clip.json`."""
    beside = file.with_suffix(".txt")
    if beside.is_file():
        return texts_of(*read_text(beside).splitlines())
    beside = file.with_suffix(".json")
    if not beside.is_file():
        return ()
    data = parse_json_of(str(beside), beside.read_bytes())
    require(data, ("caption",), str(beside))
    return captions_of(data["caption"], "caption", str(beside))
