"""Measures the loading of degraded clips.

    python -m benchmarks.degraded_throughput loader   clips per second by cores
    python -m benchmarks.degraded_throughput steps    processor time of each degradation

`loader` reads the video decoder's examples (clean and degraded, 16 x 512 x 512 by default) of
procedural shapes or, with `--dataset`, of real clips, by threads or by worker processes, each on
the first one, two, ... CPU cores of this machine. The first batches, which include the start of the
workers, are not counted.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import tyro

from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.windows import ClipWindows
from videogen_jax.data.degrade import DegradeConfig, Recipe, degrade, draw_recipe
from videogen_jax.data.loader import Source, make_loader
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips

_WARM_UP = 3  # batches


@dataclass(frozen=True)
class Reading:
    """How the loader reads: threads and worker processes; and on how many cores."""

    cores: int
    threads: int
    workers: int


def source_of(dataset: Path | None, frames: int, resolution: int) -> Source:
    """Returns the clean clips."""
    if dataset is None:
        return ShapesClips("train", 1000, num_frames=frames, resolution=resolution)
    return ClipWindows(ClipDataset(dataset), frames, resolution, fps=8.0, max_damaged=0.0)


def clips_per_second(source: Source, how: Reading, batch: int, batches: int) -> float:
    """Returns the clips per second of a loader on the first cores, after a few batches."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: how.cores])
    try:
        reader = make_loader(source, batch, 0, num_threads=how.threads, num_workers=how.workers)
        for _ in islice(reader, _WARM_UP):
            pass
        begin = time.perf_counter()
        for _ in islice(reader, batches):
            pass
        return batches * batch / (time.perf_counter() - begin)
    finally:
        os.sched_setaffinity(0, cores)


def loader(
    dataset: Path | None = None,
    frames: int = 16,
    resolution: int = 512,
    batch: int = 2,
    batches: int = 10,
    repetitions: int = 3,
    degraded: bool = True,
) -> None:
    """Prints clips per second for each number of cores, threads and workers.

    Args:
        dataset: folder of `videogen ingest`; by default procedural shapes.
        frames, resolution: size of the clips.
        batch: clips per batch.
        batches: batches in each measurement.
        repetitions: number of measurements, of which the median is printed, and the range.
        degraded: degrade the clips; otherwise only the source is measured.
    """
    clean = source_of(dataset, frames, resolution)
    source = DegradedClips(clean, DegradeConfig()) if degraded else clean
    cores = len(os.sched_getaffinity(0))
    readings = [
        Reading(number, threads, workers)
        for number in range(1, cores + 1)
        for threads, workers in ((0, 0), (number, 0), (2 * number, 0), (0, number), (1, number))
    ]
    print(f"{batch} x {frames} x {resolution} x {resolution}, median of {repetitions}:")
    for how in readings:
        rates = sorted(clips_per_second(source, how, batch, batches) for _ in range(repetitions))
        text = f"{how.cores} cores, {how.threads} threads, {how.workers} worker processes"
        print(f"{text}: {median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})", flush=True)


def steps(clips: int = 12, frames: int = 16, resolution: int = 512) -> None:
    """Prints the processor seconds per clip of each step of the degradation, and their share.

    Args:
        clips: number of clips, each with a recipe of its own.
        frames, resolution: size of the clips.
    """
    source = source_of(None, frames, resolution)
    spent: Any = Counter()
    for index in range(clips):
        recipe = draw_recipe(DegradeConfig(), np.random.default_rng(index))
        begin = time.process_time()
        video_FHW3 = source[index]["video"]
        spent["the clip itself"] += time.process_time() - begin
        for step in recipe.steps:
            only = replace(recipe, steps=(step,), codec="none")
            spent[step.split("_")[0]] += _seconds(video_FHW3, only)
        spent[f"codec {recipe.codec}"] += _seconds(video_FHW3, replace(recipe, steps=()))
    total = sum(spent.values())
    for step, seconds in spent.most_common():
        print(f"{step}: {seconds / clips:.3f} s a clip, {seconds / total:.0%}")
    print(f"in all: {total / clips:.3f} s a clip")


def _seconds(video_FHW3: np.ndarray, recipe: Recipe) -> float:
    begin = time.process_time()
    degrade(video_FHW3, recipe)
    return time.process_time() - begin


if __name__ == "__main__":
    cv2.setNumThreads(1)
    tyro.extras.subcommand_cli_from_dict(
        {"loader": loader, "steps": steps}, prog="python -m benchmarks.degraded_throughput"
    )
