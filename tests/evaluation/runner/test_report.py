"""The result as JSON, as a line and as a plot."""

import json
import math

import pytest
from PIL import Image

from videogen_jax.evaluation.runner.intervals import Interval
from videogen_jax.evaluation.runner.report import (
    draw_curve,
    result_line,
    versions,
    write_result,
)


def test_a_bound_that_does_not_exist_is_null(tmp_path):
    scores = {"fvd": Interval(3.0, math.nan, math.nan), "is": Interval(2.0, 1.5, 2.5)}
    write_result(tmp_path / "result.json", scores, {"a": 1}, [(401, 9.0)])
    data = json.loads((tmp_path / "result.json").read_text())
    assert data == {
        "scores": {
            "fvd": {"value": 3.0, "low": None, "high": None},
            "is": {"value": 2.0, "low": 1.5, "high": 2.5},
        },
        "settings": {"a": 1},
        "fvd_by_videos": [{"videos": 401, "fvd": 9.0}],
    }


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(554.321, 531.2, 577.4), "554 ± 23"),
        (Interval(0.312741, 0.310741, 0.314741), "0.3127 ± 0.0020"),
        (Interval(71.613, 71.373, 71.853), "71.61 ± 0.24"),
        (Interval(12.5, math.nan, math.nan), "12.5"),
        (Interval(1.0, 1.0, 1.0), "1.0000 ± 0.0000"),
    ],
)
def test_scores_are_as_precise_as_their_intervals(interval, text):
    assert result_line({"x": interval}, 8, None) == f"x {text} (95 % intervals; 8 videos)"


def test_the_line_states_the_numbers_of_videos():
    line = result_line({"a": Interval(1, 0, 2), "b": Interval(2, 1, 3)}, 100, 50)
    assert line == "a 1.0 ± 1.0; b 2.0 ± 1.0 (95 % intervals; 100 videos, 50 real ones)"


def test_the_plot_is_a_picture(tmp_path):
    draw_curve(tmp_path / "fvd.png", [(401, 9.0), (500, 8.0)], Interval(8.0, 7.0, 9.0))
    with Image.open(tmp_path / "fvd.png") as picture:
        assert picture.size == (600, 400)


def test_versions_name_the_library_and_the_device():
    assert {"videogen-jax", "jax", "numpy", "python", "device"} <= set(versions())
    assert "cpu" in versions()["device"]
