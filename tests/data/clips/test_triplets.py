"""Triplets of frames from windows of real clips."""

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_record, read_numbers, write_dataset
from videogen_jax.data.clips.sources.tfds_clips import open_clips
from videogen_jax.data.clips.triplets import Triplets
from videogen_jax.data.clips.windows import ClipWindows

FPS = 60.0
FRAMES = 5


@pytest.fixture(scope="module")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Triplets:
    records = [numbered_record(f"clip {i}", 60, FPS) for i in range(11)]
    dataset = write_dataset(tmp_path_factory.mktemp("data") / "clips", records)
    return Triplets(ClipWindows(open_clips(dataset), FRAMES, 32, fps=(12.0, FPS)))


def test_frames_and_times_are_those_of_the_clip(triplets: Triplets):
    strides, places = set(), set()
    for epoch in range(12):
        for index in range(len(triplets)):
            example = triplets.at(index, epoch)
            first, middle, last = read_numbers(
                np.stack([example[name] for name in ("a", "mid", "b")])
            )
            assert 0 <= first < middle < last < 60
            assert example["time"] == np.float32((middle - first) / (last - first))
            assert example["fps"] == np.float32(FPS / (last - first))
            assert example["a"].shape == (32, 32, 3) and "video" not in example
            strides.add((last - first) // (FRAMES - 1))
            places.add(round(float(example["time"]) * (FRAMES - 1)))
    assert strides == {1, 2, 3, 4, 5} and places == {1, 2, 3}


def test_an_example_is_a_function_of_index_and_epoch(triplets: Triplets):
    again = [triplets.at(0, epoch) for epoch in (0, 1, 0)]
    for name in ("a", "mid", "b", "time"):
        np.testing.assert_array_equal(again[0][name], again[2][name])
    assert any((again[0][name] != again[1][name]).any() for name in ("a", "mid", "b"))
    assert triplets[0]["time"] == again[0]["time"]
