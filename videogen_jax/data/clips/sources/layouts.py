"""The table of source layouts, and the readers of published datasets.

A reader yields `ClipRef`s one by one. For an invalid list it raises a UserError that names file and
row. Missing and damaged clip files are found later, clip by clip.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from videogen_jax.data.clips.sources import tfds_clips
from videogen_jax.data.clips.sources.listing import video_files
from videogen_jax.data.clips.sources.lists import (
    ClipRef,
    SourceOptions,
    read_csv,
    read_folder,
    read_jsonl,
    root_of,
)
from videogen_jax.data.clips.sources.text_rows import (
    captions_of,
    csv_header,
    csv_rows,
    require,
    require_text,
    seconds,
    texts_of,
)
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import parse_json_of
from videogen_jax.text_files import read_text


def layout_of(path: Path, options: SourceOptions) -> str:
    """Returns `options.layout`, or for "auto" the layout that the path's content suggests.

    Raises:
        MissingFile: the path does not exist.
        UserError: the layout is unknown, or cannot be detected.
    """
    if not path.exists():
        raise MissingFile(f"no file or folder {path}")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: expected a folder or a list; it is not a regular file")
    if options.layout != "auto":
        if options.layout not in READERS:
            raise UserError(f"layout must be auto or one of {', '.join(READERS)}")
        return options.layout
    if path.is_dir():
        if (path / "ucfTrainTestlist").is_dir():
            return "ucf101"
        return "tfds" if (path / "features.json").is_file() else "folder"
    match path.suffix.lower():
        case ".csv" | ".tsv":
            is_webvid = {"videoid", "page_dir", "name"} <= set(csv_header(path))
            return "webvid" if is_webvid else "csv"
        case ".jsonl":
            return "jsonl"
        case ".json":
            return "msrvtt"
    raise UserError(
        f"{path}: cannot tell what this is; expected a .csv, .tsv, .jsonl or MSR-VTT .json list, "
        f"or a folder (or give --layout: {', '.join(READERS)})"
    )


def read_clips(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    """Returns an iterator over the clips of a source, in its order.

    Args:
        path: a list (.csv, .jsonl, MSR-VTT's .json), or a folder.

    Raises:
        MissingFile: the list, or a file that it needs, does not exist.
        UserError: the list is invalid; names file and row.
    """
    return _with_utf8_paths(READERS[layout_of(path, options)](path, options), path)


def _with_utf8_paths(clips: Iterator[ClipRef], source: Path) -> Iterator[ClipRef]:
    """Raises UserError at a file that records cannot name: a folder's name may be no UTF-8."""
    for clip in clips:
        require_text(clip.path, "the path", f"{source}, row {clip.row}")
        yield clip


def _read_webvid(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    for line, row in csv_rows(path, ("videoid", "page_dir", "name")):
        # All columns stay text: ids and folders have leading zeros.
        file = root_of(path, options) / "videos" / row["page_dir"] / f"{row['videoid']}.mp4"
        yield ClipRef(line, row["videoid"], str(file), texts_of(row["name"]))


def _read_ucf101(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    split = options.split or "train"
    if split not in ("train", "test") or options.fold not in (1, 2, 3):
        raise UserError(
            f"UCF-101 has the splits train and test and the folds 1 to 3, got "
            f"{options.split!r} and {options.fold}"
        )
    list_file = path / "ucfTrainTestlist" / f"{split}list{options.fold:02d}.txt"
    prompts = _prompts(options.prompts)
    # The lists have v_HandStandPushups_..., the files are v_HandstandPushups_...
    files = {
        file.relative_to(path / "UCF-101").as_posix().lower(): file
        for file in video_files(path / "UCF-101", (".avi",))
    }
    for line, text in enumerate(read_text(list_file).splitlines(), 1):
        if not text.strip():
            continue
        name = text.split()[0]
        label, _, stem = name.removesuffix(".avi").partition("/")
        if not stem:
            raise UserError(f"{list_file}, line {line}: expected Class/name.avi, got {text!r}")
        file = files.get(name.lower(), path / "UCF-101" / name)
        captions = (class_caption(label),)
        if prompts is not None:
            if label not in prompts:
                raise UserError(f"{options.prompts}: no caption for the class {label}")
            captions = prompts[label]
        yield ClipRef(line, file.stem, str(file), captions)


def _read_msrvtt(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    data = parse_json_of(str(path), path.read_bytes())
    lists = (data.get("videos"), data.get("sentences")) if isinstance(data, dict) else ()
    if not lists or not all(isinstance(rows, list) for rows in lists):
        raise UserError(f"{path}: expected MSR-VTT's lists, videos and sentences")
    captions: dict[str, list[str]] = {}
    for row, sentence in enumerate(data["sentences"], 1):
        where = f"{path}, sentence {row}"
        require(sentence, ("video_id", "caption"), where)
        texts = captions_of(sentence["caption"], "caption", where)
        captions.setdefault(_name(sentence, "video_id", where), []).extend(texts)
    root = root_of(path, options)
    files = {file.stem: file for file in video_files(root)}
    for row, video in enumerate(data["videos"], 1):
        where = f"{path}, video {row}"
        require(video, ("video_id", "split", "url", "start time", "end time"), where)
        if options.split not in ("", video["split"]):
            continue
        name = _name(video, "video_id", where)
        texts = tuple(captions.get(name, ()))
        whole = files.get(name)
        youtube = files.get(_name(video, "url", where).rpartition("v=")[2])
        # Files named after the clip are already cut. Files named after the YouTube id are whole
        # videos, to which the times refer.
        if whole is not None or youtube is None:
            yield ClipRef(row, name, str(whole or root / f"{name}.mp4"), texts)
            continue
        start, end = (seconds(video, key, where) for key in ("start time", "end time"))
        yield ClipRef(row, name, str(youtube), texts, start, end)


def _name(row: dict[str, Any], key: str, where: str) -> str:
    if not isinstance(row[key], str):
        raise UserError(f"{where}: {key} must be a text, got {row[key]!r}")
    require_text(row[key], key, where)
    return row[key]


def _read_tfds(path: Path, options: SourceOptions) -> Iterator[ClipRef]:
    split = options.split or "train"
    examples = tfds_clips.open_split(str(path), split)
    if len(examples):
        where = f"{path}, example 0 of {split}"
        keys = (options.video_key, options.tfds_caption_key)
        tfds_clips.video_and_captions(examples[0], *keys, where)
    for index in range(len(examples)):
        yield ClipRef(index + 1, f"{split}-{index:08d}", str(path), index=index)


READERS: dict[str, Callable[[Path, SourceOptions], Iterator[ClipRef]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "folder": read_folder,
    "webvid": _read_webvid,
    "ucf101": _read_ucf101,
    "msrvtt": _read_msrvtt,
    "tfds": _read_tfds,
}


def class_caption(name: str) -> str:
    """Splits a class name of UCF-101 into words: "ApplyEyeMakeup" → "apply eye makeup"."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).lower()


def _prompts(path: str | None) -> dict[str, tuple[str, ...]] | None:
    if path is None:
        return None
    data = parse_json_of(path, Path(path).read_bytes())
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a JSON object of captions by class name")
    return {key: captions_of(value, f"the class {key}", path) for key, value in data.items()}
