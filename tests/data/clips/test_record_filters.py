"""Filters of one's own: how they are named, and what they may return."""

import pytest

from tests.support.numbered_clips import numbered_record
from videogen_jax.data.clips.files.clip_config import Rejected
from videogen_jax.data.clips.record_filters import check_record, load_filter
from videogen_jax.errors import UserError

NAME = "tests.support.record_filters:at_most_24_frames"


def test_a_filter_is_found_by_its_name():
    keeps = load_filter(NAME)
    check_record(NAME, keeps, numbered_record("a", 20))
    with pytest.raises(Rejected, match=f"too_many: by the filter {NAME}"):
        check_record(NAME, keeps, numbered_record("a", 25))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests", "filter 'tests': expected module:function"),
        ("tests:", "expected module:function"),
        ("tests.no_module:f", "no module tests.no_module; it has to be installed"),
        ("no_package.module:f", "no module no_package.module; it has to be installed"),
        ("tests.support.record_filters:none", "no function none in tests.support.record_filters"),
    ],
)
def test_a_filter_that_does_not_exist_is_named(name, message):
    with pytest.raises(UserError, match=message):
        load_filter(name)


@pytest.mark.parametrize("returned", [True, False, "", 0.3])
def test_a_filter_that_returns_something_else_is_named(returned):
    with pytest.raises(UserError, match=f"returned {returned!r}, expected None or a reason"):
        check_record(NAME, lambda record: returned, numbered_record("a", 20))
