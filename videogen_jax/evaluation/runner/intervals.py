"""Confidence intervals of scores, and scores of fewer videos, from the statistics of blocks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from videogen_jax.evaluation.runner.measures import Measure
from videogen_jax.evaluation.statistics import merge_all

_NORMAL_95 = 1.959964  # deviations of a normal distribution that 95 % lie within


class Interval(NamedTuple):
    """A score with its 95 % confidence interval; the bounds are NaN if there is none."""

    value: float
    low: float
    high: float


def intervals(
    measure: Measure, blocks: Sequence[Any], real: Sequence[Any], replicates: int, seed: int = 0
) -> dict[str, Interval]:
    """Scores all blocks together, with intervals from a bootstrap over blocks.

    As many blocks as there are are drawn with replacement, of the generated and of the real videos,
    and scored. The interval is the score ± 1.96 times the standard deviation of these scores, not
    their quantiles: a resample repeats videos, which raises an FVD, but hardly its deviation.

    Args:
        measure: The metric.
        blocks: Statistics of the generated videos, at least one.
        real: Statistics of the real videos; empty for a metric without them.
        replicates: Number of resamples; with 0, or fewer than two blocks, bounds are NaN.
        seed: Seed of the resampling.
    """
    whole_real = merge_all(real) if real else None
    scores = measure.score(merge_all(blocks), whole_real)
    if replicates < 2 or len(blocks) < 2:
        return {name: Interval(value, math.nan, math.nan) for name, value in scores.items()}
    rng = np.random.default_rng(seed)
    drawn = [
        measure.resampled(_resampled(blocks, rng), _resampled(real, rng) if real else None)
        for _ in range(replicates)
    ]
    found = {}
    for name, value in scores.items():
        spread = _NORMAL_95 * float(np.std([one[name] for one in drawn], ddof=1))
        found[name] = Interval(value, value - spread, value + spread)
    return found


def _resampled(blocks: Sequence[Any], rng: np.random.Generator) -> Any:
    return merge_all(blocks[number] for number in rng.integers(len(blocks), size=len(blocks)))


def curve(
    measure: Measure, name: str, blocks: Sequence[Any], real: Sequence[Any], least: int
) -> list[tuple[int, float]]:
    """Returns a score of the first 1, 2, ... blocks, with their numbers of videos.

    Args:
        measure: A metric that compares with the real videos.
        name: Name of the score.
        blocks: Statistics of the generated videos.
        real: Statistics of the real videos, all of which are used.
        least: Smallest number of videos that is scored.
    """
    whole_real, merged, points = merge_all(real), None, []
    for block in blocks:
        merged = block if merged is None else merged.merge(block)
        if merged.count >= least:
            points.append((int(merged.count), measure.score(merged, whole_real)[name]))
    return points
