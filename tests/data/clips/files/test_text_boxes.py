"""Text that stays, in clips with and without a watermark."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.support.moving_clips import texture
from videogen_jax.data.clips.files import text_boxes
from videogen_jax.data.clips.files.text_boxes import TextMeter, text_mask

H, W = 120, 200


def box(left: int, top: int, width: int, height: int) -> np.ndarray:
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


@pytest.fixture
def boxes(monkeypatch):
    """Boxes to find in the frame of each value, in place of a network's."""
    found: dict[int, list[np.ndarray]] = {}

    def detector(frame, use_det):
        return SimpleNamespace(boxes=found.get(int(frame[0, 0, 0])))

    monkeypatch.setattr(text_boxes, "_detector", lambda: detector)
    return found


def meter_of(levels: list[int]) -> float:
    """Measures a clip of a second with frames of these values."""
    meter = TextMeter(1.0)
    for number, level in enumerate(levels):
        meter.see(number / len(levels), np.full((H, W, 3), level, np.uint8))
    return meter.result()


def test_text_counts_where_it_is_in_two_of_three_frames(boxes):
    """Of six frames, those at 1/6, 3/6 and 5/6 of the clip are looked at."""
    boxes |= {1: [box(10, 10, 39, 9), box(100, 50, 50, 20)], 2: [box(10, 10, 39, 9)]}
    area = 40 * 10 / (H * W)
    assert meter_of([0, 1, 0, 2, 0, 0]) == pytest.approx(area)
    assert meter_of([0, 1, 0, 0, 0, 0]) == 0
    assert meter_of([1, 0, 2, 0, 1, 0]) == 0  # the frames between


def test_what_is_too_large_for_text_does_not_count(boxes):
    boxes |= {1: [box(0, 0, W - 1, H - 1), box(10, 10, 90, H // 4 + 1)]}
    assert meter_of([1] * 6) == 0


def test_a_single_frame_is_enough(boxes):
    boxes |= {1: [box(10, 10, 39, 9)]}
    assert TextMeter(1.0).result() == 0
    meter = TextMeter(0.0)
    meter.see(0.0, np.ones((H, W, 3), np.uint8))
    assert meter.result() > 0


def test_the_network_finds_a_watermark():
    pytest.importorskip("onnxruntime", reason="the extra text-boxes")
    pytest.importorskip("rapidocr", reason="the extra text-boxes")
    plain = texture(300) // 2
    assert text_mask(plain).mean() < 0.002
    marked = cv2.putText(
        plain.copy(), "stockvideo.com", (40, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (240,) * 3, 2
    )
    mask = text_mask(marked)
    assert 0.01 < mask.mean() < 0.15 and mask[195, 60] and not mask[50].any()
