"""The report on shapes videos: scores of true clips, and tables."""

import math

import numpy as np
import pytest

from videogen_jax.evaluation.image_quality import psnr
from videogen_jax.evaluation.shapes.held_out import held_out
from videogen_jax.evaluation.shapes.measures import change_error
from videogen_jax.evaluation.shapes.report import Report, Scores, score, score_images, scores_table
from videogen_jax.evaluation.shapes.sheets import save_sheet, worst_of, wrong_attributes
from videogen_jax.media.video import Video

DATA = held_out(12, resolution=64)


def test_held_out_captions_name_what_their_clips_show():
    scores = score(DATA.clips, DATA.asked)
    assert scores == Scores(*[1.0] * 8, flicker=0.0)
    images = score_images([clip[0] for clip in DATA.clips], DATA.asked)
    assert (images.colour, images.shape, images.size) == (1.0, 1.0, 1.0)
    assert math.isnan(images.motion) and math.isnan(images.keeps_shape)


def test_clips_of_other_captions_score_less():
    scores = score(DATA.clips[1:] + DATA.clips[:1], DATA.asked)
    assert max(scores.colour, scores.shape, scores.motion) < 0.6
    assert scores.keeps_shape == 1.0  # needs no caption


def test_the_worst_come_first(tmp_path):
    videos = [Video(clip, 8.0, text) for clip, text in zip(DATA.clips, DATA.captions, strict=True)]
    videos[3] = Video(DATA.clips[4], 8.0, DATA.captions[3])  # another clip
    videos[7] = Video(DATA.clips[7][::-1].copy(), 8.0, DATA.captions[7])  # reversed
    first, second = worst_of(videos, DATA.asked, 2)
    assert (first, second) == (videos[3], videos[7])
    assert wrong_attributes(DATA.asked[3], DATA.asked[3]) == 0
    save_sheet(tmp_path / "new" / "worst.png", [first, second])
    assert (tmp_path / "new" / "worst.png").stat().st_size > 1000


def test_tables_have_a_row_for_each_set_and_a_dash_for_what_is_not_seen():
    rows = {
        "final": Scores(*[0.5] * 8, flicker=0.25),
        "image": Scores(0.5, 0.5, math.nan, 0.5, 0.5),
    }
    table = scores_table("of 64", rows)
    assert table.splitlines()[0] == (
        "| of 64 | colour | shape | motion | size | background | keeps colour | keeps shape "
        "| keeps size | flicker |"
    )
    assert table.splitlines()[2] == "| final |" + " 50% |" * 8 + " 0.25 |"
    assert table.splitlines()[3] == "| image | 50% | 50% | – | 50% | 50% | – | – | – | – |"
    report = Report(64, rows, {31: {"temporal SR": 0.5, "repeated": 1.9}}).table()
    assert report.startswith(table)
    assert report.endswith(
        "| roughness of | temporal SR | repeated |\n|---|---|---|\n| 31 frames | 0.50 | 1.90 |"
    )


def test_psnr_and_the_error_of_changes():
    truth = np.full((3, 4, 4, 3), 100, np.uint8)
    assert psnr(truth + 5, truth) == pytest.approx(20 * math.log10(255 / 5))
    assert change_error(truth + 5, truth) == 0.0
    jumping = truth.copy()
    jumping[1] += 6
    assert change_error(jumping, truth) == 6.0
