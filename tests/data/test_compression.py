"""Compression as a degradation: quality, and that no frame is lost."""

import numpy as np
import pytest

from videogen_jax.data.compression import h264_round_trip, jpeg_round_trip
from videogen_jax.data.shapes.world import clip_spec, render


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(clip_spec("train", 3), np.arange(8))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 10 * np.log10(255**2 / error)


def test_jpeg_quality_orders(clip):
    scores = [psnr(clip, jpeg_round_trip(clip, quality)) for quality in (30, 60, 95)]
    assert scores == sorted(scores) and scores[0] > 22


def test_h264_quality_orders_and_keeps_frames(clip):
    results = [h264_round_trip(clip, crf) for crf in (40, 28, 18)]
    scores = [psnr(clip, result) for result in results]
    assert scores == sorted(scores) and scores[0] > 18
    best = results[-1]
    for index, frame in enumerate(best):
        assert np.argmin([np.abs(frame.astype(int) - other).mean() for other in clip]) == index


def test_h264_needs_even_sizes(clip):
    with pytest.raises(ValueError, match="63 x 64"):
        h264_round_trip(clip[:, :63], 28)
