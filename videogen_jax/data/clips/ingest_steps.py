"""What Beam's workers do with the rows of a source: they split each and make records of its parts.

    row → its parts → for each a record or a rejection

An element is (shard, row): the row as a dict of `ClipRef`'s fields with "place", its place in the
shard, "part" and "parts", the number of a part and of all parts of its row, and "rejected" if it
needs no more work.
"""

import dataclasses
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from videogen_jax.data.clips.beam_errors import one_line, writing
from videogen_jax.data.clips.files.clip_config import Rejected
from videogen_jax.data.clips.files.decoding import Media
from videogen_jax.data.clips.files.splitting import check_length, split
from videogen_jax.data.clips.files.transcode import transcode
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.record_filters import check_record, load_filter
from videogen_jax.data.clips.records import ClipRecord, pack_record
from videogen_jax.data.clips.sources import tfds_clips
from videogen_jax.data.clips.sources.lists import ClipRef
from videogen_jax.errors import UserError, user_message

Span = tuple[int, int, int]  # shard, offset of its rows in the list, their number
Row = dict[str, Any]
# "place", "part", "parts", "row" in the source, and "record" bytes with "facts", or "rejected"
Outcome = dict[str, Any]
DUPLICATE = "duplicate_id"
FAILED = "failed"

_FIELDS = tuple(field.name for field in dataclasses.fields(ClipRef))


def read_rows(list_file: Path, span: Span) -> Iterator[tuple[int, Row]]:
    """Yields (shard, row) for every row of a shard."""
    shard, offset, count = span
    with list_file.open("rb") as file:
        file.seek(offset)
        for place in range(count):
            row = json.loads(file.readline())
            yield shard, {**row, "place": place, "part": 0, "parts": 1}


class SplitRow(beam.DoFn):
    """Beam function that maps a row to its parts; a file that cannot be read is a rejection."""

    def __init__(self, config: IngestConfig):
        self._config = config
        self._examples = _Examples(config)

    def process(self, element: tuple[int, Row]) -> Iterator[tuple[int, Row]]:
        """Yields (shard, row) for every part, with its times and an id of its own."""
        shard, row = element
        ref, config = _ref_of(row), self._config
        if not config.split.splits() or row["duplicate"]:
            yield element
            return
        try:
            media, _ = self._examples.media_of(ref)
            end = math.inf if ref.end is None else ref.end
            parts = split(media, config.split, config.clip, ref.start or 0.0, end)
        except Exception as error:
            yield shard, {**row, "rejected": _rejection(ref, error)}
            return
        for number, (start, end) in enumerate(parts):
            # All ids get times, and the last @ divides them: so ids of parts differ as rows' do.
            name = f"{ref.id}@{start:.3f}-{end:.3f}"
            part = {"id": name, "start": start, "end": end, "part": number, "parts": len(parts)}
            yield shard, {**row, **part}


class MakeRecord(beam.DoFn):
    """Beam function that maps a part of a row to (shard, outcome)."""

    def __init__(self, config: IngestConfig, progress_dir: Path):
        self._config = config
        self._progress_dir = progress_dir
        self._examples = _Examples(config)

    def setup(self) -> None:
        """Opens the file in which this worker counts rows; runs once per worker."""
        self._filters = [load_filter(name) for name in self._config.filters]
        # Each worker has its own: appending to files on a network file system is not safe.
        with writing("the progress of a worker"):
            self._ticks = (self._progress_dir / uuid.uuid4().hex).open("ab", buffering=0)

    def teardown(self) -> None:
        """Closes the counting file."""
        self._ticks.close()

    def process(self, element: tuple[int, Row]) -> Iterator[tuple[int, Outcome]]:
        """Transcodes one clip; any error of it is a rejection."""
        shard, row = element
        ref = _ref_of(row)
        try:
            outcome = {"rejected": row["rejected"]} if "rejected" in row else self._made(ref, row)
        except Exception as error:
            outcome = {"rejected": _rejection(ref, error)}
        if row["part"] == row["parts"] - 1:
            with writing(f"the progress of row {ref.row}"):
                self._ticks.write(b".")
        places = {key: row[key] for key in ("place", "part", "parts", "row")}
        yield shard, {**places, **outcome}

    def _made(self, ref: ClipRef, row: Row) -> Outcome:
        if row["duplicate"]:
            raise Rejected(DUPLICATE, f"an earlier row has the id {ref.id!r}")
        start, end = ref.start or 0.0, math.inf if ref.end is None else ref.end
        if self._config.split.splits():
            check_length((start, end), self._config.split)
        media, captions = self._examples.media_of(ref)
        clip = transcode(media, self._config.clip, start, end)
        record = ClipRecord(id=ref.id, captions=captions, source=_source_of(ref), **vars(clip))
        for name, keeps in zip(self._config.filters, self._filters, strict=True):
            check_record(name, keeps, record)
        return {
            "record": pack_record(record),
            "facts": {
                "num_frames": clip.num_frames,
                "fps": clip.fps,
                "h": clip.h,
                "w": clip.w,
                "captions": len(captions),
            },
        }


class _Examples:
    """The video and the captions of rows; opens a TFDS dataset when a row first needs it."""

    def __init__(self, config: IngestConfig):
        self._options = config.reading
        self._opened: Any = None

    def media_of(self, ref: ClipRef) -> tuple[Media, tuple[str, ...]]:
        """Returns a file's path, or the bytes of a video in TFDS, and its captions."""
        if ref.index is None:
            return ref.path, tuple(ref.captions)
        options = self._options
        if self._opened is None:
            self._opened = tfds_clips.open_split(ref.path, options.split or "train")
        keys = (options.video_key, options.tfds_caption_key)
        return tfds_clips.video_and_captions(self._opened[ref.index], *keys, _source_of(ref))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}  # every worker opens its own


def _ref_of(row: Row) -> ClipRef:
    return ClipRef(**{name: row[name] for name in _FIELDS})


def _source_of(ref: ClipRef) -> str:
    return ref.path if ref.index is None else f"{ref.path}, example {ref.index}"


def _rejection(ref: ClipRef, error: Exception) -> dict[str, Any]:
    """Returns the line of the report for a clip that raised `error`.

    Raises:
        UserError: the error is a missing package, which is one of all clips.
    """
    if isinstance(error, ModuleNotFoundError):
        raise UserError(user_message(error) or str(error)) from error
    if isinstance(error, Rejected):
        reason, detail = error.reason, error.detail
    elif isinstance(error, OSError) and not isinstance(error, UserError):
        reason, detail = "undecodable", one_line(error)  # FFmpeg's errors are OSErrors too
    else:
        reason, detail = FAILED, f"{type(error).__name__}: {one_line(error)}"
    place = {"file": _source_of(ref), "row": ref.row, "id": ref.id}
    return {**place, "reason": reason, "detail": detail}
