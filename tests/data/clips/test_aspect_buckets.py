"""Aspect buckets: which one a clip takes, what is cropped, and batches of one bucket each."""

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_record, read_numbers, write_dataset
from videogen_jax.data.aspect_batches import Buckets
from videogen_jax.data.clips.aspect_buckets import assign, crop
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.windows import ClipWindows
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import make_loader
from videogen_jax.errors import UserError

BUCKETS = ((16, 16), (16, 32), (32, 16), (24, 24))


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((16, 16), 0),
        ((30, 30), 3),  # of two squares, the larger one
        ((24, 23), 0),  # too narrow for the larger one
        ((20, 40), 1),
        ((40, 18), 2),
        ((16, 22), 0),  # 1.375 is nearer to 1 than to 2, by ratio
        ((17, 31), 0),  # too narrow for 16x32
        ((16, 33), 1),
        ((15, 90), -1),
        ((1000, 16), 2),
    ],
)
def test_a_clip_takes_the_nearest_bucket_that_it_fills(size, bucket):
    heights_N, widths_N = (np.array([side, 400], np.int32) for side in size)
    assert assign(heights_N, widths_N, BUCKETS).tolist() == [bucket, 3]


def test_the_crop_is_as_large_as_possible():
    video = np.zeros((2, 40, 100, 3), np.uint8)
    video[:, :, 10:90] = 200  # 40 x 80 is the largest part of this shape
    assert (crop(video, (16, 32)) == 200).all() and crop(video, (16, 32)).shape == (2, 16, 32, 3)
    assert (crop(video, (40, 80)) == 200).all()
    assert (crop(video, (20, 40), across=0.0)[:, :, 3] == 0).all()
    assert (crop(video.swapaxes(1, 2), (40, 20), across=1.0)[:, -3] == 0).all()
    for size in ((7, 3), (3, 7), (40, 99), (39, 100), (1, 1)):
        assert crop(video, size).shape == (2, *size, 3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> ClipDataset:
    """Clips of three shapes, and of one that is too small."""
    sizes = [(32, 64), (64, 32), (32, 32), (8, 64)]
    records = [numbered_record(f"clip {i}", 20 + i, h=h, w=w) for i in range(3) for h, w in sizes]
    return ClipDataset(write_dataset(tmp_path_factory.mktemp("clips"), records))


def test_each_clip_is_in_one_bucket(clips: ClipDataset):
    buckets = ((16, 32), (32, 16))
    windows = [
        ClipWindows(clips, 3, 16, part="all", buckets=buckets, bucket=place) for place in (0, 1)
    ]
    # Squares are as far from both, and take the first.
    assert [part.clips_N.tolist() for part in windows] == [[0, 2, 4, 6, 8, 10], [1, 5, 9]]
    assert [part.excluded for part in windows] == [6, 9]
    for part, (height, width) in zip(windows, buckets, strict=True):
        example = part.at(1, 0)
        assert example["video"].shape == (3, height, width, 3)
    numbers = read_numbers(windows[1].at(0, 0)["video"])
    assert np.diff(numbers).tolist() == [1, 1]
    with pytest.raises(UserError, match=r"frames at .* fps and in the bucket 16x128; the longest"):
        ClipWindows(clips, 3, 16, buckets=((16, 128), (16, 16)), bucket=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": ""}, "buckets are of the clips of one dataset, but the procedural shapes"),
        ({"dataset": "", "mixture": (("a", 1.0),)}, "but mixture is given too"),
        ({"buckets": ((16, 16), (16, 16))}, "buckets has 16x16, expected different sizes"),
        ({"buckets": ((16, 0),)}, "buckets has 16x0, expected .* 1 or more"),
    ],
)
def test_wrong_configurations_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        DataConfig(**{"dataset": "clips", "buckets": BUCKETS, **fields})


def test_sizes_at_other_resolutions_keep_the_shape():
    data = DataConfig(dataset="clips", resolution=16, buckets=BUCKETS)
    assert data.size_at(8, (16, 32)) == (8, 16) and data.size_at(32, (24, 24)) == (48, 48)
    assert data.largest_size == (24, 24)
    assert DataConfig(resolution=8).size_at(4, (8, 8)) == (4, 4)


class Numbered:
    """A source of numbers, with a width of its own and another value in each epoch."""

    def __init__(self, size: int, width: int):
        self._size, self._width = size, width

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int):
        return self.at(index, 0)

    def at(self, index: int, epoch: int):
        return {"x": np.full(self._width, 1000 * epoch + index)}


SOURCES = Buckets((Numbered(30, 1), Numbered(10, 2), Numbered(4, 3)))
BATCH = 4


def first(loader, count: int) -> list[np.ndarray]:
    return [next(loader)["x"] for _ in range(count)]


def test_every_batch_is_of_one_bucket_and_buckets_take_turns_by_their_sizes():
    batches = first(make_loader(SOURCES, BATCH, 0, num_threads=0), 44)
    widths = [batch.shape[1] for batch in batches]
    assert [widths.count(width) for width in (1, 2, 3)] == [30, 10, 4]
    # They are mixed, not one after the other.
    assert set(widths[:22]) == set(widths[22:]) == {1, 2, 3}
    for width, size in ((1, 30), (2, 10), (3, 4)):
        seen = np.concatenate([b[:, 0] for b in batches if b.shape[1] == width])
        # One epoch after the other, each example once in each.
        for epoch in range(4):
            expected = 1000 * epoch + np.arange(size)
            assert sorted(seen[epoch * size : (epoch + 1) * size]) == expected.tolist()


def test_a_resumed_run_and_several_processes_read_the_same_batches():
    whole = first(make_loader(SOURCES, BATCH, 3, num_threads=0), 12)
    begun = make_loader(SOURCES, BATCH, 3)
    first(begun, 5)
    resumed = make_loader(SOURCES, BATCH, 3, num_threads=1)
    resumed.set_state(begun.get_state())
    for expected, found in zip(whole[5:], first(resumed, 7), strict=True):
        np.testing.assert_array_equal(found, expected)
    parts = [make_loader(SOURCES, BATCH, 3, num_threads=0, positions=p) for p in ([0, 1], [2, 3])]
    for expected, *found in zip(whole, *(first(part, 12) for part in parts), strict=True):
        np.testing.assert_array_equal(np.concatenate(found), expected)
    other = first(make_loader(SOURCES, BATCH, 4, num_threads=0), 12)
    assert any((a != b).any() for a, b in zip(whole, other, strict=True))


@pytest.mark.slow  # starts worker processes
def test_worker_processes_read_the_same_batches():
    whole = first(make_loader(SOURCES, BATCH, 3, num_threads=0), 12)
    for expected, found in zip(
        whole, first(make_loader(SOURCES, BATCH, 3, num_workers=2), 12), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_no_buckets_are_refused():
    with pytest.raises(UserError, match="0 buckets"):
        Buckets(())
