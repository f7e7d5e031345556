"""The report on shapes videos: its smoothness measure and its table."""

import numpy as np
import pytest

from videogen_jax.evaluation.shapes_report import SHOWN, Report, roughness


def test_roughness_tells_steady_from_stuttering_motion():
    steady = np.arange(0, 60, 4, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    assert roughness(steady) == 0.0
    # Every frame twice: half of the changes are 0, every second difference is a whole change.
    assert roughness(steady.repeat(2, axis=0)) == pytest.approx(2.0, abs=0.1)


def test_roughness_of_a_still_clip_is_zero():
    assert roughness(np.zeros((4, 2, 2, 3), np.uint8)) == 0.0


def test_the_table_has_every_attribute_and_no_motion_of_a_still():
    shares: dict[str, float] = dict.fromkeys(SHOWN, 0.5)
    report = Report(64, shares, shares, shares, shares, {31: {"temporal SR": 0.5, "repeated": 1.9}})
    table = report.table()
    assert "| final video | 50% | 50% | 50% | 50% | 50% |" in table
    assert "| reference image | 50% | 50% | – | 50% | 50% |" in table
    assert table.endswith(
        "| roughness of | temporal SR | repeated |\n|---|---|---|\n| 31 frames | 0.50 | 1.90 |"
    )
