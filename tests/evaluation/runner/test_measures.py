"""Every metric of the table equals its function, whatever the size of the last batch."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluating import PROTOCOL, mean_colours, replace_networks
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.evaluation import features
from videogen_jax.evaluation.clip_similarity import clip_similarity
from videogen_jax.evaluation.features import Extractor
from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.image_quality import video_psnr, video_ssim
from videogen_jax.evaluation.inception_score import inception_score, split_of
from videogen_jax.evaluation.runner import measures
from videogen_jax.evaluation.runner.measures import METRICS, Batch, Measure, Setup
from videogen_jax.evaluation.statistics import Predictions
from videogen_jax.models.features import loading

RNG = np.random.default_rng(0)
COUNT = 11
VIDEOS, TRUTHS = RNG.integers(0, 256, (2, COUNT, 3, 12, 12, 3), np.uint8)
CAPTIONS = tuple(f"caption {number}" for number in range(COUNT))
SETUP = Setup(Path("networks"), dataclasses.replace(PROTOCOL, splits=2), COUNT, batch_size=8)


def summed(measure: Measure, videos=VIDEOS, truths=TRUTHS, captions=CAPTIONS):
    """Returns the statistics of batches of 8, of which the last is not full."""
    statistics = measure.empty()
    for start in range(0, len(videos), 8):
        rows = tuple(range(len(videos))[start : start + 8])
        pick = lambda array: array[list(rows)]
        batch = Batch(rows, pick(videos), tuple(captions[row] for row in rows), pick(truths))
        statistics = measure.update(statistics, batch)
    return statistics


def test_fvd(monkeypatch):
    replace_networks(monkeypatch.setattr)
    measure = METRICS["fvd"].build(SETUP)
    generated, real = summed(measure), summed(measure, TRUTHS)
    expected = frechet_distance(mean_colours(VIDEOS), mean_colours(TRUTHS))
    assert measure.score(generated, real) == {"fvd": pytest.approx(expected, rel=1e-9)}


def test_the_inception_score_splits_by_index(monkeypatch):
    softmax = lambda videos: mean_colours(videos) / mean_colours(videos).sum(1, keepdims=True)
    extractor = Extractor("C3D", 3, 1, None, softmax)
    monkeypatch.setattr(loading, "load_c3d", lambda directory: (None, None))
    monkeypatch.setattr(features, "c3d_probabilities", lambda config, params: extractor)
    measure = METRICS["is"].build(SETUP)
    splits = split_of(np.arange(COUNT), COUNT, 2)
    mean, deviation = inception_score(Predictions.empty(3, 2).update(softmax(VIDEOS), splits))
    found = measure.score(summed(measure), None)
    assert found == {
        "is": pytest.approx(mean, rel=1e-12),
        "is_deviation_over_splits": pytest.approx(deviation, rel=1e-9),
    }
    assert deviation > 0


def test_clipsim(monkeypatch):
    images = lambda videos: np.asarray(videos).reshape(len(videos), 3, -1)[..., :5] / 255
    texts = lambda captions: np.array([[len(c), int(c[-1]), 1, 2, 3] for c in captions])
    clip = SimpleNamespace(images=images, texts=texts)
    monkeypatch.setattr(loading, "load_clip", lambda directory: ())
    monkeypatch.setattr(features, "ClipExtractor", lambda: clip)
    measure = METRICS["clipsim"].build(SETUP)
    expected = clip_similarity(images(VIDEOS), texts(CAPTIONS)).mean()
    assert measure.score(summed(measure), None) == {"clipsim": pytest.approx(expected)}


def test_lpips_compares_each_video_with_its_own_truth(monkeypatch):
    apart = lambda params, a, b: np.abs(np.asarray(a, float) - np.asarray(b)).mean((1, 2, 3, 4))
    monkeypatch.setattr(loading, "load_lpips", lambda directory: None)
    monkeypatch.setattr(measures, "video_lpips", apart)
    measure = METRICS["lpips"].build(SETUP)
    expected = apart(None, VIDEOS, TRUTHS).mean()
    assert measure.score(summed(measure), None) == {"lpips": pytest.approx(expected)}


def test_psnr_and_ssim():
    for name, function in (("psnr", video_psnr), ("ssim", video_ssim)):
        measure = METRICS[name].build(SETUP)
        expected = np.mean([function(a, b) for a, b in zip(VIDEOS, TRUTHS, strict=True)])
        assert measure.score(summed(measure), None) == {name: pytest.approx(expected)}


def test_videos_without_a_still_pixel_are_left_out_of_the_steadiness(monkeypatch):
    measure = METRICS["steadiness"].build(SETUP)
    still = np.full((1, 3, 32, 32, 3), 90, np.uint8)
    one = measure.update(measure.empty(), Batch((0,), still, ("",)))
    assert measure.score(one, None) == {"warping_error": 0.0, "flicker": 0.0}
    monkeypatch.setattr(measures, "flicker", lambda *_: math.nan)
    without = measure.update(one, Batch((1,), still, ("",)))
    assert without.count == 1
    assert np.isnan(measure.score(measure.empty(), None)["flicker"])


def test_the_analyser_reads_true_clips_right_and_others_wrong():
    clips = [ShapesClips("held_out", 3)[index] for index in range(3)]
    videos = np.stack([clip["video"] for clip in clips])
    captions = tuple(clip["caption"] for clip in clips)
    measure = METRICS["shapes"].build(SETUP)
    right = summed(measure, videos, videos, captions)
    assert measure.score(right, None) == {"colour": 1.0, "shape": 1.0, "motion": 1.0}
    wrong = summed(measure, videos * 0, videos, captions)
    assert measure.score(wrong, None) == {"colour": 0.0, "shape": 0.0, "motion": 0.0}
