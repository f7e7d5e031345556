"""The table of protocols, against what the papers state."""

from typing import get_args

import pytest

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.measures import METRICS
from videogen_jax.evaluation.runner.options import EvaluateOptions, metrics_of
from videogen_jax.evaluation.runner.protocols import PROTOCOLS, Name, Protocol


def test_every_protocol_has_a_name_and_known_metrics():
    assert set(get_args(Name)) == set(PROTOCOLS)
    for protocol in PROTOCOLS.values():
        assert set(metrics_of(protocol)) <= set(METRICS) and len(protocol.about) > 20


def test_the_papers_tables():
    """§4.1: 16×256×256 videos; Table 2: all captions; Table 3: 1,000 random ones."""
    names: tuple[Name, ...] = ("videogen", "videogen-msrvtt", "videogen-msrvtt-1000")
    one, two, three = (PROTOCOLS[name] for name in names)
    assert {p.scored_frames for p in (one, two, three)} == {16}
    assert {p.resolution for p in (one, two, three)} == {256}
    assert (one.metrics, two.metrics, three.metrics) == ("fvd,is", "clipsim", "clipsim")
    assert two.num_videos is None and two.caption_seed is None
    assert three.num_videos == 1000 and three.caption_seed == 0


def test_other_papers():
    styleganv, tganv2 = PROTOCOLS["styleganv"], PROTOCOLS["tganv2"]
    assert (styleganv.num_videos, styleganv.real_videos, styleganv.splits) == (2048, 2048, 10)
    assert (styleganv.covariance, styleganv.real_place) == ("population", "random")
    assert tganv2.num_videos == 10 * 2048 and tganv2.splits == 10


def test_options_replace_single_values():
    options = EvaluateOptions(num_videos=5, metrics="is", resolution=32)
    changed = PROTOCOLS["styleganv"].changed(options)
    assert (changed.num_videos, changed.metrics, changed.resolution) == (5, "is", 32)
    assert (changed.real_videos, changed.splits, changed.grid) == (2048, 10, "half_pixel")


def test_unknown_metrics_and_numbers_out_of_range_are_named():
    with pytest.raises(UserError, match="no metric 'fid', expected some of fvd, is, clipsim"):
        metrics_of(Protocol("", "fvd, fid", "ucf101"))
    with pytest.raises(UserError, match="num-videos is 0, expected 1 or more"):
        PROTOCOLS["videogen"].changed(EvaluateOptions(num_videos=0))
    with pytest.raises(UserError, match="scoring-batch is 0, expected 1 or more"):
        EvaluateOptions(scoring_batch=0)
