"""The Fréchet distance of sets whose distance is known."""

import numpy as np
import pytest

from videogen_jax.errors import UserError
from videogen_jax.evaluation.frechet import frechet_distance, frechet_distance_of, fvd
from videogen_jax.evaluation.statistics import Moments

RNG = np.random.default_rng(0)


def test_a_set_is_at_no_distance_from_itself():
    features = RNG.normal(size=(50, 7))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_a_shift_and_a_scale_cost_what_they_should():
    features = RNG.normal(size=(200, 4))
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    assert frechet_distance(features, features + shift) == pytest.approx(np.square(shift).sum())
    # 3 x has mean 3 μ and deviation 3 σ in every direction, so the distance is 4 (|μ|² + tr Σ).
    wanted = 4 * (np.square(features.mean(0)).sum() + np.trace(np.cov(features, rowvar=False)))
    assert frechet_distance(features, 3 * features) == pytest.approx(wanted)


def test_equals_the_matrix_square_root():
    linalg = pytest.importorskip("scipy.linalg")
    a = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5))
    b = RNG.normal(size=(80, 5)) @ RNG.normal(size=(5, 5)) + 1
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s @ t).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)


def test_fewer_clips_than_features_are_a_number_too():
    assert np.isfinite(frechet_distance(RNG.normal(size=(3, 20)), RNG.normal(size=(4, 20))))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (np.zeros((1, 3)), "2 clips or more"),
        (np.zeros((5, 2)), "as many features, got 3 and 2"),
        (np.full((5, 3), np.nan), "not finite"),
    ],
)
def test_what_is_no_set_is_refused(others, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(np.zeros((5, 3)), others)


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    """The statistics of a set of 1,000 vectors with exactly these moments, unbiased."""
    return Moments(np.int64(1000), mean, 999 * covariance)


def test_closed_forms_of_gaussians():
    zero, one = np.zeros(3), np.eye(3)
    # Commuting covariances: the sum of the squared differences of means and of deviations.
    deviations, others = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 0.0])
    mean = np.array([1.0, -1.0, 0.5])
    found = frechet_distance_of(
        gaussian(zero, np.diag(deviations**2)), gaussian(mean, np.diag(others**2))
    )
    assert found == pytest.approx(np.square(mean).sum() + np.square(deviations - others).sum())
    rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    turned = [
        gaussian(rotation @ m, rotation @ np.diag(d**2) @ rotation.T)
        for m, d in ((zero, deviations), (mean, others))
    ]
    assert frechet_distance_of(*turned) == pytest.approx(found)
    assert frechet_distance_of(gaussian(zero, one), gaussian(zero, one)) == 0


def test_the_divisor_of_the_covariance_is_an_option():
    x, y = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 4)) + 1
    moments, others = Moments.empty(4).update(x), Moments.empty(4).update(y)
    apart = np.square(x.mean(0) - y.mean(0)).sum()
    unbiased = frechet_distance_of(moments, others) - apart
    population = frechet_distance_of(moments, others, "population") - apart
    assert population == pytest.approx(unbiased * 19 / 20)


def test_real_sizes_equal_scipy():
    """400 features, as FVD has; the reference is the square root of a product, as in its code."""
    linalg = pytest.importorskip("scipy.linalg")
    mixing = RNG.normal(size=(400, 400)) / 20
    a, b = RNG.normal(size=(900, 400)) @ mixing, RNG.normal(size=(800, 400)) @ mixing + 0.1
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s @ t).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * root)
    moments, others = (Moments.empty(400).update(x) for x in (a, b))
    assert fvd(moments, others) == pytest.approx(wanted, rel=1e-6)


def test_fvd_needs_more_videos_than_features():
    few, many = (Moments.empty(4).update(RNG.normal(size=(n, 4))) for n in (4, 5))
    assert fvd(many, many) == pytest.approx(0, abs=1e-9)
    with pytest.raises(UserError, match="4 features needs at least 5 videos .* got 4 generated"):
        fvd(many, few)
