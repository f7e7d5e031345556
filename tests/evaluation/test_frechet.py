"""The Fréchet distance of sets whose distance is known."""

import numpy as np
import pytest

from videogen_jax.evaluation.frechet import frechet_distance

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
