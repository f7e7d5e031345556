"""Krippendorff's alpha against published examples."""

import math

import pytest

from videogen_jax.evaluation.study.agreement import krippendorff_alpha


def test_two_observers_of_binary_data():
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section A."""
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    alpha = krippendorff_alpha(zip(meg, owen, strict=True))
    assert alpha == pytest.approx(0.095, abs=5e-4)


def test_two_observers_of_nominal_data():
    """The same, section B."""
    ben, gerry = "aabbdcccedda", "babbbccceddd"
    alpha = krippendorff_alpha(zip(ben, gerry, strict=True))
    assert alpha == pytest.approx(0.692, abs=5e-4)


def test_four_observers_with_missing_values():
    """The same, section C: four observers, twelve units, of which one has a single value."""
    rows = (
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    units = zip(*(row.split() for row in rows), strict=True)
    alpha = krippendorff_alpha([value for value in unit if value != "."] for unit in units)
    assert alpha == pytest.approx(0.743, abs=5e-4)


def test_full_agreement_and_none():
    assert krippendorff_alpha([[1, 1, 1], [0, 0]]) == 1.0
    assert krippendorff_alpha([[1, 0], [0, 1]]) == pytest.approx(-0.5)
    for units in ([], [[1], [0]], [[1, 1], [1, 1]]):  # nothing to agree on
        assert math.isnan(krippendorff_alpha(units))
