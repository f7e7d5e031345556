"""Statistics of sets of videos do not depend on batches and processes."""

import numpy as np
import pytest

from videogen_jax.evaluation.inception_score import inception_score, split_of
from videogen_jax.evaluation.statistics import Averages, Moments, Predictions, merge_all

TOLERANCE = 1e-10  # relative
RNG = np.random.default_rng(0)
VIDEOS, FEATURES, SPLITS = 103, 12, 5
# Means much larger than the deviations, where sums of squares would lose digits.
FEATURE_SET = (RNG.normal(size=(VIDEOS, FEATURES)) + 1e4).astype(np.float32)
PROBABILITIES = RNG.dirichlet(np.full(FEATURES, 0.3), VIDEOS)


def batches(total: int, process: int, processes: int, size: int):
    """The videos of a process, in batches, of which some are smaller."""
    own = np.arange(process, total, processes)
    return [own[i : i + size] for i in range(0, len(own), size)]


def gathered(kind: str, processes: int, size: int):
    parts = []
    for process in range(processes):
        if kind == "moments":
            part = Moments.empty(FEATURES)
        elif kind == "averages":
            part = Averages.empty(FEATURES)
        else:
            part = Predictions.empty(FEATURES, SPLITS)
        for videos in batches(VIDEOS, process, processes, size):
            if kind == "predictions":
                part = part.update(PROBABILITIES[videos], split_of(videos, VIDEOS, SPLITS))
            else:
                part = part.update(FEATURE_SET[videos])
        parts.append(part)
    return merge_all(parts)


@pytest.mark.parametrize("kind", ["moments", "averages", "predictions"])
@pytest.mark.parametrize(("processes", "size"), [(1, 7), (2, 7), (4, 3), (4, 200)])
def test_any_distribution_gives_the_same(kind, processes, size):
    whole, found = gathered(kind, 1, VIDEOS), gathered(kind, processes, size)
    for ours, expected in zip(found, whole, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE * scale)


def test_a_process_without_videos_changes_nothing():
    for kind in (Moments, Averages, Predictions):
        whole = kind.empty(FEATURES).update(PROBABILITIES)
        for joined in (whole.merge(kind.empty(FEATURES)), kind.empty(FEATURES).merge(whole)):
            assert all(np.array_equal(a, b) for a, b in zip(joined, whole, strict=True))
        same = whole.update(np.zeros((0, FEATURES)))
        assert all(np.array_equal(a, b) for a, b in zip(same, whole, strict=True))


def test_moments_are_numpys():
    x = FEATURE_SET.astype(np.float64)
    found = gathered("moments", 4, 3)
    np.testing.assert_allclose(found.mean_D, x.mean(0), rtol=1e-14)
    expected = np.cov(x, rowvar=False)
    np.testing.assert_allclose(found.covariance_DD(), expected, rtol=0, atol=1e-10)
    biased = np.cov(x, rowvar=False, ddof=0)
    np.testing.assert_allclose(found.covariance_DD("population"), biased, rtol=0, atol=1e-10)
    assert found.count == VIDEOS


def test_averages_have_a_deviation_and_an_error():
    found = gathered("averages", 2, 7)
    x = FEATURE_SET.astype(np.float64)
    np.testing.assert_allclose(found.deviation_D(), x.std(0, ddof=1), rtol=1e-10)
    np.testing.assert_allclose(found.error_D(), x.std(0, ddof=1) / np.sqrt(VIDEOS), rtol=1e-10)
    assert np.isnan(Averages.empty(2).update([[1.0, 2.0]]).deviation_D()).all()


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (
            lambda: Moments.empty(3).update(np.zeros((2, 4))),
            "need a matrix .N, 3., got shape .2, 4",
        ),
        (lambda: Moments.empty(3).update(np.zeros(3)), "need a matrix"),
        (lambda: Averages.empty(1).update([[np.nan]]), "not finite"),
        (lambda: Moments.empty(3).merge(Moments.empty(4)), "cannot join 3 and 4 features"),
        (lambda: Moments.empty(3).update(np.zeros((1, 3))).covariance_DD(), "2 vectors or more"),
        (lambda: Predictions.empty(2).update([[0.5, 0.6]]), "not probabilities"),
        (lambda: Predictions.empty(2).update([[1.5, -0.5]]), "not probabilities"),
        (lambda: Predictions.empty(2, 3).update([[0.5, 0.5]], [3]), "need a split below 3"),
        (lambda: Predictions.empty(2, 3).update([[0.5, 0.5]], [0, 1]), "need a split below 3"),
    ],
)
def test_wrong_batches_are_refused(update, message):
    with pytest.raises(ValueError, match=message):
        update()


def test_the_inception_score_of_known_predictions():
    """K classes, predicted with certainty and equally often: K. Always the same prediction: 1."""
    certain = np.eye(4)[np.arange(40) % 4]
    assert inception_score(Predictions.empty(4).update(certain)) == pytest.approx((4, 0))
    same = np.tile([0.7, 0.2, 0.1, 0.0], (10, 1))
    assert inception_score(Predictions.empty(4).update(same)) == pytest.approx((1, 0))
    # Two kinds of video, p and its mirror image: the marginal is flat.
    p = np.array([0.9, 0.1])
    mixed = np.stack([p, p[::-1]] * 5)
    expected = np.exp((p * np.log(p / 0.5)).sum())
    assert inception_score(Predictions.empty(2).update(mixed)).mean == pytest.approx(expected)


@pytest.mark.parametrize("splits", [1, 5, 10])
def test_the_inception_score_with_splits_is_tganv2s(splits):
    found = Predictions.empty(FEATURES, splits)
    for videos in batches(VIDEOS, 0, 1, 9):
        found = found.update(
            PROBABILITIES[videos].astype(np.float32), split_of(videos, VIDEOS, splits)
        )
    scores = []
    for i in range(splits):
        part = PROBABILITIES[i * VIDEOS // splits : (i + 1) * VIDEOS // splits] + 1e-20
        divergence = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(divergence.sum(1).mean()))
    assert inception_score(found) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-5)


def test_splits_without_videos_are_refused():
    found = Predictions.empty(2, 3).update([[0.5, 0.5]] * 2, [0, 2])
    with pytest.raises(ValueError, match="3 splits .* got 2; split 1 has none"):
        inception_score(found)
    for splits in (0, 6):
        with pytest.raises(ValueError, match=f"need 1 to 5 splits of 5 videos, got {splits}"):
            split_of(np.arange(5), 5, splits)
