"""Conversion of clips to ArrayRecord shards, as an Apache Beam pipeline: one element is one clip.

    shards to write → rows of each → reshuffle → parts of each, such as shots → reshuffle →
    a record or a rejection → by shard → a file

The rows are first written to one list beside the shards: a pipeline of any size starts with the
shard numbers only. In one process the shards are made one after another, each by all workers, and a
killed run loses at most one shard. With another runner all shards are one pipeline. All workers
must be able to access the paths of the source and the output.
"""

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from videogen_jax.data.clips.beam_errors import raising_user_errors, writing
from videogen_jax.data.clips.ingest_config import Begun, IngestConfig
from videogen_jax.data.clips.ingest_steps import MakeRecord, Outcome, Span, SplitRow, read_rows
from videogen_jax.data.clips.record_filters import load_filter
from videogen_jax.data.clips.records import write_shard
from videogen_jax.data.clips.sources.layouts import read_clips
from videogen_jax.data.clips.state import IngestFolder
from videogen_jax.errors import UserError

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
        UserError: the source is invalid, a filter cannot be imported, another process is at work in
            `out`, `out` has shards of another configuration (names the fields), or every clip was
            rejected.
    """
    for name in config.filters:
        load_filter(name)  # raises before anything is written
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
            | "spread rows" >> beam.Reshuffle()
            | "parts" >> beam.ParDo(SplitRow(config))
            | "spread parts" >> beam.Reshuffle()
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


def _write_shard(
    state: IngestFolder,
    num_shards: int,
    sizes: dict[int, int],
    shard: int,
    outcomes: Sequence[Outcome],
) -> None:
    """Writes a shard's summary and then its file, both atomically."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome["place"], outcome["part"]))
    parts = {outcome["place"]: outcome["parts"] for outcome in ordered}
    expected = [
        (place, part) for place in range(sizes[shard]) for part in range(parts.get(place, 1))
    ]
    if [(outcome["place"], outcome["part"]) for outcome in ordered] != expected:
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
