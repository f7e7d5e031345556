"""Conversion of clips to ArrayRecord shards, as an Apache Beam pipeline: one element is one clip.

    shards to write → rows of each → reshuffle → a record or a rejection → by shard → a file

The rows are first written to one list beside the shards: a pipeline of any size starts with the
shard numbers only. In one process the shards are made one after another, each by all workers, and a
killed run loses at most one shard. With another runner all shards are one pipeline. All workers
must be able to access the paths of the source and the output.
"""

import hashlib
import json
import math
import os
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from videogen_jax.data.clips.beam_errors import one_line, raising_user_errors, writing
from videogen_jax.data.clips.files.transcode import Rejected, transcode
from videogen_jax.data.clips.ingest_config import Begun, IngestConfig
from videogen_jax.data.clips.records import ClipRecord, pack_record, write_shard
from videogen_jax.data.clips.sources import tfds_clips
from videogen_jax.data.clips.sources.layouts import read_clips
from videogen_jax.data.clips.sources.lists import ClipRef
from videogen_jax.data.clips.state import IngestFolder
from videogen_jax.errors import UserError, user_message

Span = tuple[int, int, int]  # shard, offset of its rows in the list, their number
# "place" in the list, "row" in the source, and "record" bytes with "facts", or "rejected"
Outcome = dict[str, Any]
DUPLICATE = "duplicate_id"
FAILED = "failed"
IN_PROCESS = "in-process"


@dataclass(frozen=True)
class RunnerConfig:
    """How the pipeline runs; the result does not depend on it.

    Attributes:
        runner: a Beam runner, such as FlinkRunner; by default threads of this process.
        beam_args: further options for Beam, such as --flink_master=HOST.
        workers: threads in this process; 0 is one per CPU core.
    """

    runner: str = IN_PROCESS
    beam_args: tuple[str, ...] = ()
    workers: int = 0


def ingest(config: IngestConfig, out: Path, runner: RunnerConfig = RunnerConfig()) -> dict:
    """Makes the dataset `out`, or the shards that are still missing there.

    Returns:
        the contents of its `dataset_info.json`.

    Raises:
        MissingFile: the source does not exist.
        UserError: the source is invalid, another process is at work in `out`, `out` has shards of
            another configuration (names the fields), or every clip was rejected.
    """
    state = IngestFolder(out.absolute())  # workers may start elsewhere
    with state.locked():
        with state.new_list() as file:
            spans, digest = _write_list(config, file)
            state.begin(Begun(config, sum(count for *_, count in spans), digest))
        if (info := state.finished()) is not None:
            return info
        missing = [span for span in spans if not state.shard(span[0], len(spans)).is_file()]
        at_once = 1 if runner.runner == IN_PROCESS else max(1, len(missing))
        with state.progress(sum(count for *_, count in missing)):
            for first in range(0, len(missing), at_once):
                _run(config, state, missing[first : first + at_once], len(spans), runner)
        return state.finish(len(spans))


def _write_list(config: IngestConfig, file: BinaryIO) -> tuple[list[Span], str]:
    """Writes the source's rows to one file for all workers; returns the shards and its digest.

    Raises:
        UserError: the source is empty, or as `layouts.read_clips`.
    """
    digest, spans, seen, offset = hashlib.sha256(), [], set(), 0
    for place, ref in enumerate(read_clips(Path(config.source), config.reading)):
        key = hashlib.blake2b(ref.id.encode(), digest_size=8).digest()
        line = json.dumps({**asdict(ref), "duplicate": key in seen}).encode() + b"\n"
        seen.add(key)
        if place % config.clips_per_shard == 0:
            spans.append([len(spans), offset, 0])
        spans[-1][2] += 1
        offset += file.write(line)
        digest.update(line)
    if not spans:
        raise UserError(f"{config.source}: no clips in it")
    return [tuple(span) for span in spans], digest.hexdigest()


def _run(
    config: IngestConfig,
    state: IngestFolder,
    spans: Sequence[Span],
    num_shards: int,
    how: RunnerConfig,
) -> None:
    """Writes the shards of `spans`; raises a UserError if they cannot be written."""
    sizes = {shard: count for shard, _, count in spans}
    with raising_user_errors(), _pipeline(how) as pipeline:
        _ = (
            pipeline
            | "shards" >> beam.Create(list(spans))
            | "spread shards" >> beam.Reshuffle()
            | "rows" >> beam.FlatMap(partial(read_rows, state.list_file))
            | "spread clips" >> beam.Reshuffle()
            | "clips" >> beam.ParDo(MakeRecord(config, state.progress_dir))
            | "by shard" >> beam.GroupByKey()
            | "files" >> beam.MapTuple(partial(_write_shard, state, num_shards, sizes))
        )


def _pipeline(how: RunnerConfig) -> beam.Pipeline:
    try:
        return beam.Pipeline(**_pipeline_options(how))
    except ValueError as error:
        raise UserError(f"Beam cannot start the runner {how.runner!r}: {error}") from error


def _pipeline_options(how: RunnerConfig) -> dict[str, Any]:
    if how.runner != IN_PROCESS:
        return {"options": PipelineOptions([f"--runner={how.runner}", *how.beam_args])}
    # Not DirectRunner: it would start the Prism runner, which downloads a program.
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    threads = how.workers or os.cpu_count() or 1
    args = [f"--direct_num_workers={threads}", "--direct_running_mode=multi_threading"]
    return {"runner": FnApiRunner(), "options": PipelineOptions([*args, *how.beam_args])}


def read_rows(list_file: Path, span: Span) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yields (shard, place in the shard, row) for every row of a shard."""
    shard, offset, count = span
    with list_file.open("rb") as file:
        file.seek(offset)
        for place in range(count):
            yield shard, place, json.loads(file.readline())


class MakeRecord(beam.DoFn):
    """Beam function that maps a row of the list to (shard, outcome)."""

    def __init__(self, config: IngestConfig, progress_dir: Path):
        self._config = config
        self._progress_dir = progress_dir

    def setup(self) -> None:
        """Opens the file in which this worker counts clips; runs once per worker."""
        self._examples = None
        # Each worker has its own: appending to files on a network file system is not safe.
        with writing("the progress of a worker"):
            self._ticks = (self._progress_dir / uuid.uuid4().hex).open("ab", buffering=0)

    def teardown(self) -> None:
        """Closes the counting file."""
        self._ticks.close()

    def process(self, element: tuple[int, int, dict[str, Any]]) -> Iterator[tuple[int, Outcome]]:
        """Transcodes one clip; any error of it is a rejection."""
        shard, place, row = element
        ref = ClipRef(**{key: value for key, value in row.items() if key != "duplicate"})
        try:
            if row["duplicate"]:
                raise Rejected(DUPLICATE, f"an earlier row has the id {ref.id!r}")
            outcome = self._made(ref)
        except ModuleNotFoundError as error:  # of all clips
            raise UserError(user_message(error) or str(error)) from error
        except Exception as error:
            outcome = {"rejected": _rejection(ref, error)}
        with writing(f"the progress of row {ref.row}"):
            self._ticks.write(b".")
        yield shard, {"place": place, "row": ref.row, **outcome}

    def _made(self, ref: ClipRef) -> Outcome:
        media, captions, source = ref.path, tuple(ref.captions), ref.path
        if ref.index is not None:
            media, captions = self._example(ref)
            source = f"{ref.path}, example {ref.index}"
        end = math.inf if ref.end is None else ref.end
        clip = transcode(media, self._config.clip, ref.start or 0.0, end)
        record = ClipRecord(id=ref.id, captions=captions, source=source, **vars(clip))
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

    def _example(self, ref: ClipRef) -> tuple[bytes, tuple[str, ...]]:
        options = self._config.reading
        if self._examples is None:
            self._examples = tfds_clips.open_split(ref.path, options.split or "train")
        keys = (options.video_key, options.tfds_caption_key)
        where = f"{ref.path}, example {ref.index}"
        return tfds_clips.video_and_captions(self._examples[ref.index], *keys, where)


def _rejection(ref: ClipRef, error: Exception) -> dict[str, Any]:
    """Returns the line of the report for a clip that raised `error`."""
    if isinstance(error, Rejected):
        reason, detail = error.reason, error.detail
    elif isinstance(error, OSError) and not isinstance(error, UserError):
        reason, detail = "undecodable", one_line(error)  # FFmpeg's errors are OSErrors too
    else:
        reason, detail = FAILED, f"{type(error).__name__}: {one_line(error)}"
    file = ref.path if ref.index is None else f"{ref.path}, example {ref.index}"
    return {"file": file, "row": ref.row, "id": ref.id, "reason": reason, "detail": detail}


def _write_shard(
    state: IngestFolder,
    num_shards: int,
    sizes: dict[int, int],
    shard: int,
    outcomes: Sequence[Outcome],
) -> None:
    """Writes a shard's summary and then its file, both atomically."""
    ordered = sorted(outcomes, key=lambda outcome: outcome["place"])
    if [outcome["place"] for outcome in ordered] != list(range(sizes[shard])):
        raise RuntimeError(f"shard {shard}: rows are missing or came twice: a bug of the runner")
    taken = [outcome for outcome in ordered if "record" in outcome]
    facts = [outcome["facts"] for outcome in taken]
    summary = {
        "clips": len(taken),
        "frames": sum(fact["num_frames"] for fact in facts),
        "seconds": sum(fact["num_frames"] / fact["fps"] for fact in facts),
        "captions": sum(fact["captions"] for fact in facts),
        "fps": Counter(f"{fact['fps']:.6g}" for fact in facts),
        "sizes": Counter(f"{fact['w']}x{fact['h']}" for fact in facts),
        "clip_sizes": [[f["num_frames"], f["fps"], f["h"], f["w"]] for f in facts],
        "checksums": [zlib.crc32(outcome["record"]) for outcome in taken],
        "rejected": [outcome["rejected"] for outcome in ordered if "rejected" in outcome],
    }
    rows = f"rows {ordered[0]['row']} to {ordered[-1]['row']}"
    what = f"{state.shard(shard, num_shards)} ({rows} of the source)"
    with writing(what), state.shard_files(shard, num_shards, summary) as file:
        write_shard(file, [outcome["record"] for outcome in taken])
