"""Confidence intervals against known ones, and scores of fewer videos."""

from typing import Any

import numpy as np
import pytest

from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.runner.intervals import curve, intervals
from videogen_jax.evaluation.runner.measures import Measure
from videogen_jax.evaluation.statistics import Averages, Moments

RNG = np.random.default_rng(0)


def mean_score(averages: Averages, real: Any) -> dict[str, float]:
    return {"mean": float(averages.mean_D[0])}


MEAN = Measure(lambda: Averages.empty(1), lambda *_: None, mean_score, mean_score)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = RNG.normal(3, 2, (3200, 1))
    parts = [Averages.empty(1).update(values[block::32]) for block in range(32)]
    found = intervals(MEAN, parts, [], replicates=400)["mean"]
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    # 32 blocks and 400 resamples: the deviation is known within a quarter.
    assert (found.high - found.low) / 2 == pytest.approx(error, rel=0.25)
    assert found.high - found.value == pytest.approx(found.value - found.low)
    assert intervals(MEAN, parts, [], replicates=400)["mean"] == found


def test_intervals_hold_the_true_mean_nearly_always():
    """In 95 % of 60 sets, except for the error of so few blocks and sets."""
    inside = 0
    for _ in range(60):
        parts = [Averages.empty(1).update(RNG.normal(size=(10, 1))) for _ in range(32)]
        found = intervals(MEAN, parts, [], replicates=40)["mean"]
        inside += found.low <= 0 <= found.high
    assert 52 <= inside <= 60


def test_there_is_no_interval_without_blocks_or_resamples():
    parts = [Averages.empty(1).update([[1.0], [3.0]])] * 2
    for few in (intervals(MEAN, parts[:1], [], 50), intervals(MEAN, parts, [], 0)):
        assert few["mean"].value == 2 and np.isnan([few["mean"].low, few["mean"].high]).all()


def distance(generated: Moments, real: Moments) -> dict[str, float]:
    from videogen_jax.evaluation.frechet import frechet_distance_of

    return {"fvd": frechet_distance_of(real, generated)}


def test_both_sets_are_resampled_and_the_curve_adds_blocks():
    generated, real = RNG.normal(size=(2, 640, 3)) + np.array([[[1.0]], [[0.0]]])
    blocks, reals = (
        [Moments.empty(3).update(x[block::32]) for block in range(32)] for x in (generated, real)
    )
    measure = Measure(lambda: Moments.empty(3), lambda *_: None, distance, distance)
    both = intervals(measure, blocks, reals, 200)["fvd"]
    one = intervals(measure, blocks, [reals[0]] * 32, 200)["fvd"]
    assert both.low < frechet_distance(generated, real) < both.high
    assert one.high - one.low < both.high - both.low
    points = curve(measure, "fvd", blocks, reals, least=41)
    assert [count for count, _ in points] == list(range(60, 641, 20))
    assert points[-1][1] == pytest.approx(both.value, rel=1e-12)
    first = np.concatenate([generated[block::32] for block in range(3)])
    assert points[0][1] == pytest.approx(frechet_distance(first, real), rel=1e-9)
