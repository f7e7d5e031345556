"""Makes a dataset of clips: `videogen ingest SOURCE OUT`; run it again to resume."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from videogen_jax.cli import command
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.splitting import SplitConfig
from videogen_jax.data.clips.sources.lists import SourceOptions

Flat = tyro.conf.OmitArgPrefixes


def main(
    source: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    reading: Annotated[SourceOptions, Flat] = SourceOptions(),
    clip: Annotated[ClipConfig, Flat] = ClipConfig(),
    split: Annotated[SplitConfig, Flat] = SplitConfig(),
    filter: tuple[str, ...] = (),
    clips_per_shard: int = 256,
    workers: int = 0,
    runner: str = "in-process",
    beam_args: tyro.conf.Suppress[tuple[str, ...]] = (),
) -> None:
    """Converts a list or a folder of clips to ArrayRecord shards. Options after `--` go to Beam.

    Args:
        source: .csv, .tsv or .jsonl list, MSR-VTT's .json, or a folder: of clips, UCF-101 or TFDS.
        out: the dataset's folder.
        reading: how the source is read.
        clip: how clips are transcoded, and which are rejected.
        split: how files are split into clips.
        filter: functions of your own that reject clips, each as module:function.
        clips_per_shard: rows of the source per shard.
        workers: threads in this process; 0 is one per CPU core.
        runner: a Beam runner, such as FlinkRunner, SparkRunner or DataflowRunner.
    """
    # At import, Beam warns that it cannot reach BigQuery.
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
    from videogen_jax.data.clips.ingest import IngestConfig, RunnerConfig, ingest
    from videogen_jax.data.clips.report import save_sample_sheet, summary

    config = IngestConfig(str(source.resolve()), reading, clip, clips_per_shard, split, filter)
    info = ingest(config, out, RunnerConfig(runner, beam_args, workers))
    print(summary(info))
    print(save_sample_sheet(out, out / "samples.png"))


def call(prog: str, arguments: Sequence[str]) -> None:
    """Parses a command line and runs `main` as `cli.command` does; words after `--` go to Beam."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    with_beam = partial(main, beam_args=tuple(words[end + 1 :]))
    command(with_beam, prog, words[:end], description=main.__doc__)
