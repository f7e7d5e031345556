"""Scoring a folder of videos.

OUT/statistics/    statistics of each metric and set, with their progress (`blocks.py`)
OUT/result.json    scores and settings; OUT/fvd.png: FVD against the number of videos
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner import blocks, report
from videogen_jax.evaluation.runner.checks import check_before, check_captions
from videogen_jax.evaluation.runner.generation import devices_batch
from videogen_jax.evaluation.runner.intervals import Interval, curve, intervals
from videogen_jax.evaluation.runner.measures import METRICS, Batch, Measure, Setup
from videogen_jax.evaluation.runner.options import EvaluateOptions, metrics_of, network_hashes
from videogen_jax.evaluation.runner.prompts import sha256
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.evaluation.runner.sources import FolderVideos, Videos, captions_of
from videogen_jax.json_text import read_json_object
from videogen_jax.locking import hold_lock
from videogen_jax.media.video_folder import REQUEST


def score_folder(
    folder: Path,
    out: Path,
    protocol: Protocol,
    options: EvaluateOptions,
    real: Videos | None,
) -> str | None:
    """Scores the videos of a folder and writes the result.

    With several processes, every process makes this call and measures its own blocks.

    Args:
        folder: Videos, with or without a manifest.
        out: Folder of the statistics and the result.
        protocol: The protocol, with the changes of the options.
        options: The options.
        real: The real videos, or None.

    Returns:
        The line with the scores; None in all processes but the first.

    Raises:
        MissingFile, UserError: As `check_before`.
        UserError: The folder has fewer videos, a video is unreadable or has too few frames, a
            caption is missing or not that of the real video, or statistics in `out` are of other
            settings.
    """
    window = Window(protocol.scored_frames, resolution=protocol.resolution)
    videos = FolderVideos(folder, window, protocol.num_videos)
    metrics = metrics_of(protocol)
    check_before(protocol, options, len(videos), real)
    check_captions(folder, videos, metrics, real)
    scores: dict[str, Interval] = {}
    points: list[tuple[int, float]] = []
    for name in metrics:
        one = _Metric(name, protocol, options, out, videos, real)
        one.add()
        found, on_curve = one.result()
        scores, points = scores | found, points + on_curve
    if jax.process_index() > 0:
        return None
    begun = folder / REQUEST
    settings = {
        "protocol": dataclasses.asdict(protocol),
        "generation": read_json_object(begun) if begun.is_file() else None,
        "generated": {**videos.settings(), "captions_sha256": sha256(captions_of(videos))},
        "real": None if real is None else real.settings(),
        "networks": network_hashes(metrics, options),
        "bootstrap": options.bootstrap,
        "versions": report.versions(),
    }
    report.write_result(out / report.RESULT, scores, settings, points)
    if len(points) > 1:
        report.draw_curve(out / report.PLOT, points, scores["fvd"])
    return report.result_line(scores, len(videos), None if real is None else len(real))


class _Metric:
    """One metric of an evaluation."""

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        options: EvaluateOptions,
        out: Path,
        videos: Videos,
        real: Videos | None,
    ) -> None:
        self._name, self._protocol, self._options = name, protocol, options
        self._metric, self._videos = METRICS[name], videos
        self._real = real if self._metric.needs_real else None
        self._truths = real if self._metric.needs_truths else None
        self._batch = devices_batch(options.scoring_batch)
        self._folder = out / "statistics" / name
        self._real_folder = (options.real_statistics or out / "statistics") / f"{name}-real"

    def add(self) -> None:
        """Adds this process's blocks of the generated and, if compared, of the real videos."""
        truths = {} if self._truths is None else {"truths": self._truths.settings()}
        self._add(self._folder, self._videos, self._truths, truths)
        if self._real is not None:
            names = ("real_place", "real_fps", "seed")
            windows = {name: getattr(self._protocol, name) for name in names}
            self._add(self._real_folder, self._real, None, windows)

    def _add(
        self, folder: Path, videos: Videos, truths: Videos | None, further: dict[str, Any]
    ) -> None:
        names = ("scored_frames", "resolution", *self._metric.settings)
        settings = {
            "metric": self._name,
            "set": videos.settings(),
            "batch_size": self._batch,
            "network": network_hashes({self._name: self._metric}, self._options),
            **{name: getattr(self._protocol, name) for name in names},
            **further,
        }
        read = partial(read_batch, videos, truths, self._metric.needs_captions)
        lock = folder / f".lock-{jax.process_index()}"
        with hold_lock(lock, f"the folder of statistics {folder}"):
            blocks.accumulate(
                folder, settings, len(videos), read, lambda: self._measure, self._batch
            )

    def result(self) -> tuple[dict[str, Interval], list[tuple[int, float]]]:
        """Returns the scores with their intervals, and FVD by number of videos.

        Waits for the other processes; only the first one computes the intervals.
        """
        generated = blocks.collect(self._folder, len(self._videos), self._measure)
        real = []
        if self._real is not None:
            real = blocks.collect(self._real_folder, len(self._real), self._measure)
        if jax.process_index() > 0:
            return {}, []
        scores = intervals(self._measure, generated, real, self._options.bootstrap)
        if self._name != "fvd":
            return scores, []
        least = len(generated[0].mean_D) + 1
        return scores, curve(self._measure, "fvd", generated, real, least)

    @cached_property
    def _measure(self) -> Measure:
        """Loads the network when it is first needed."""
        networks, count = self._options.networks, len(self._videos)
        return self._metric.build(Setup(networks, self._protocol, count, self._batch))


def read_batch(
    videos: Videos, truths: Videos | None, captioned: bool, indices: tuple[int, ...]
) -> Batch:
    """Reads videos by their numbers.

    Args:
        videos: The set.
        truths: Real videos of the same numbers, for metrics of pairs.
        captioned: Whether captions are needed.
        indices: The numbers.

    Raises:
        UserError: A video is unreadable or too short, or they differ in size.
    """
    read = lambda source: _stacked([source.video(index) for index in indices])
    captions = tuple(videos.caption(index) if captioned else "" for index in indices)
    return Batch(indices, read(videos), captions, None if truths is None else read(truths))


def _stacked(videos: Sequence[np.ndarray]) -> np.ndarray:
    shapes = sorted({video.shape for video in videos})
    if len(shapes) > 1:
        raise UserError(
            f"videos of one set have the shapes {shapes[0]} and {shapes[1]}; --resolution makes "
            "them equal"
        )
    return np.stack(videos)
