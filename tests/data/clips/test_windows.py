"""Windows of real clips: their frames, the order of batches, damaged clips."""

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_record, read_number, read_numbers, write_dataset
from videogen_jax.data.clips.records import ClipDataset, ClipRecord
from videogen_jax.data.clips.video import encode
from videogen_jax.data.clips.windows import ClipWindows, square
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.loader import make_loader
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips

SIDE = 32  # frame rate of the clips


@pytest.fixture(scope="module")
def records() -> list[ClipRecord]:
    return [numbered_record(f"clip {i}", 30 + i, 24 if i % 2 else 12) for i in range(20)]


@pytest.fixture(scope="module")
def dataset(records, tmp_path_factory) -> ClipDataset:
    folder = tmp_path_factory.mktemp("data") / "d"
    return ClipDataset(write_dataset(folder, records[:7], records[7:12], records[12:]))


@pytest.fixture
def damaged(records, tmp_path) -> ClipDataset:
    """A dataset whose clips 3, 4 and 9 are not valid videos."""
    bad = [r if i not in (3, 4, 9) else _without_video(r) for i, r in enumerate(records)]
    return ClipDataset(write_dataset(tmp_path / "damaged", bad))


def _without_video(record: ClipRecord) -> ClipRecord:
    return ClipRecord(**{**vars(record), "video": b"nothing"})


def indices(loader, batches: int) -> list[int]:
    return [int(i) for batch in islice(loader, batches) for i in batch["index"]]


def facts(loader, batches: int) -> list[tuple[int, int]]:
    """Returns (clip, first frame) of every example."""
    return [
        (int(index), read_number(video[0]))
        for batch in islice(loader, batches)
        for index, video in zip(batch["index"], batch["video"], strict=True)
    ]


@pytest.mark.parametrize(
    ("fps", "strides", "true_fps"),
    [(None, {12: 1, 24: 1}, {12: 12, 24: 24}), (8.0, {12: 2, 24: 3}, {12: 6, 24: 8})]
    + [(60.0, {12: 1, 24: 1}, {12: 12, 24: 24}), (5, {12: 2, 24: 5}, {12: 6, 24: 4.8})],
)
def test_windows_are_exactly_the_requested_frames(dataset, fps, strides, true_fps):
    source = ClipWindows(dataset, 5, SIDE, fps=fps)
    first = set()
    for epoch in range(4):
        for index in range(len(source)):
            example, record = source.at(index, epoch), dataset[index]
            start = read_number(example["video"][0])
            stride = strides[round(record.fps)]
            expected = list(range(start, start + 5 * stride, stride))
            assert read_numbers(example["video"]) == expected and expected[-1] < record.num_frames
            assert example["fps"] == np.float32(true_fps[round(record.fps)])
            assert example["fps"].dtype == np.float32 and example["index"] == index
            assert example["caption"] in record.captions
            first.add(start)
    assert len(first) > 15


def test_windows_draw_their_rate_from_a_range(dataset):
    """Clips of 24 fps have 12, 8, 6 and 4.8 fps in the range, those of 12 fps 12, 6 and 4."""
    source = ClipWindows(dataset, 5, SIDE, fps=(4.0, 12.0))
    drawn = {12: set(), 24: set()}
    for epoch in range(40):
        example, record = source.at(index := epoch % 8, epoch), dataset[epoch % 8]
        numbers, stride = read_numbers(example["video"]), record.fps / example["fps"]
        assert set(np.diff(numbers)) == {round(stride)} and numbers[-1] < record.num_frames
        assert stride == pytest.approx(round(stride), rel=1e-6)
        drawn[round(record.fps)].add(round(stride))
        np.testing.assert_array_equal(source.at(index, epoch)["video"], example["video"])
    assert drawn == {12: {1, 2, 3}, 24: {2, 3, 4, 5, 6}}


def test_clips_without_a_rate_of_the_range_are_left_out(tmp_path):
    records = [numbered_record(f"{fps}", 40, fps) for fps in (10, 12, 24, 24)]
    data = ClipDataset(write_dataset(tmp_path / "d", records))
    source = ClipWindows(data, 4, SIDE, fps=(12.0, 80.0))
    assert source.clips_N.tolist() == [1, 2] and source.excluded == 1
    with pytest.raises(ValueError, match="none of its 3 train clips has 4 frames at 30 to 80 fps"):
        ClipWindows(data, 4, SIDE, fps=(30.0, 80.0))


def test_every_start_and_caption_comes(dataset):
    """Clip 0 has 30 frames and therefore three windows of 28."""
    source = ClipWindows(dataset, 28, SIDE)
    examples = [source.at(0, epoch) for epoch in range(40)]
    assert {read_number(e["video"][0]) for e in examples} == {0, 1, 2}
    assert {e["caption"] for e in examples} == {"clip 0, one", "clip 0, two"}


def test_a_window_is_a_function_of_seed_index_and_epoch(dataset):
    source, same = (ClipWindows(dataset, 4, SIDE, seed=1) for _ in range(2))
    other = ClipWindows(dataset, 4, SIDE, seed=2)
    starts = [
        [read_number(s.at(i, epoch)["video"][0]) for i in range(len(s))]
        for s, epoch in ((source, 0), (same, 0), (other, 0), (source, 1))
    ]
    assert starts[0] == starts[1] != starts[2] and starts[0] != starts[3]
    np.testing.assert_array_equal(source[3]["video"], same.at(3, 0)["video"])


def test_one_frame_is_an_image(dataset):
    example = ClipWindows(dataset, 1, 16)[2]
    assert example["video"].shape == (1, 16, 16, 3) and example["video"].dtype == np.uint8


def test_validation_clips_are_the_last(dataset):
    train, validation = (ClipWindows(dataset, 4, SIDE, part=p) for p in ("train", "validation"))
    assert train.clips_N.tolist() == list(range(18))  # a tenth of 20 is for validation
    assert validation.clips_N.tolist() == [18, 19]
    assert len(ClipWindows(dataset, 4, SIDE, held_back=1)) == 19


def test_short_and_small_clips_are_left_out(tmp_path):
    records = [
        numbered_record("a"),
        numbered_record("b", 17),
        numbered_record("c", h=16),
        numbered_record("d"),
    ]
    data = ClipDataset(write_dataset(tmp_path / "d", records))
    source = ClipWindows(data, 18, SIDE)
    assert source.clips_N.tolist() == [0] and source.excluded == 2
    assert ClipWindows(data, 17, 16).excluded == 0
    assert ClipWindows(data, 10, 16, fps=12).clips_N.tolist() == [0, 2]  # b has only 9 frames


def test_square_is_antialiased_and_from_the_middle():
    wide = np.zeros((2, 32, 64, 3), np.uint8)
    wide[:, :, 16:48] = 200
    assert (square(wide, 16) == 200).all()
    assert (square(wide, 32, across=0.0)[:, :, :16] == 0).all()
    assert (square(wide.swapaxes(1, 2), 32, across=1.0)[:, 16:] == 0).all()
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(square(stripes, 8).astype(int)[:, :, 1:-1] - 127).max() < 16


def test_random_crops_differ(tmp_path):
    pictures = [np.tile(np.arange(64, dtype=np.uint8)[:, None] * 4, (32, 1, 3))] * 4
    video, _ = encode(iter(pictures), Fraction(24), 12, 12)
    record = ClipRecord("ramp", video, (), 24.0, 4, 32, 64, "ramp")
    data = ClipDataset(write_dataset(tmp_path / "d", [record] * 2))
    source = ClipWindows(data, 1, SIDE, random_crop=True)
    left = {int(source.at(0, epoch)["video"][0, 0, 0, 0]) // 4 for epoch in range(20)}
    assert len(left) > 8
    assert ClipWindows(data, 1, SIDE)[0]["caption"] == ""


def test_readers_share_the_clips_without_overlap(dataset):
    """2 and 4 readers take batches of 4 or 6 of 18 clips, across the end of an epoch."""
    source = ClipWindows(dataset, 2, SIDE, seed=5)
    for readers, batch in ((2, 6), (4, 4)):
        whole = facts(make_loader(source, batch, 0), 9)
        share = batch // readers
        parts = [
            facts(make_loader(source, batch, 0, positions=range(i, i + share)), 9)
            for i in range(0, batch, share)
        ]
        assert sum((p[k : k + share] for k in range(0, 9 * share, share) for p in parts), []) == (
            whole
        )
        epoch = [index for index, _ in whole[:18]]
        assert sorted(epoch) == list(range(18)) and epoch != sorted(epoch)
        assert whole[:18] != whole[18:36]


def test_threads_do_not_change_the_order(dataset):
    source = ClipWindows(dataset, 2, SIDE)
    orders = [facts(make_loader(source, 5, 1, num_threads=n), 8) for n in (0, 2)]
    assert orders[0] == orders[1]


def test_resume_within_an_epoch_is_byte_identical(dataset):
    loader = make_loader(ClipWindows(dataset, 3, SIDE), 5, 2)
    for _ in range(5):  # in the second epoch
        next(loader)
    state, expected = loader.get_state(), list(islice(loader, 3))
    resumed = make_loader(ClipWindows(dataset, 3, SIDE), 5, 2, num_threads=0)
    resumed.set_state(state)
    for batch, other in zip(expected, islice(resumed, 3), strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def test_the_next_clip_takes_a_damaged_ones_place(dataset, damaged, capfd):
    whole = indices(make_loader(ClipWindows(dataset, 2, SIDE), 6, 0), 6)
    source = ClipWindows(damaged, 2, SIDE, max_damaged=0.2)
    assert indices(make_loader(source, 6, 0), 6) == [{3: 5, 4: 5, 9: 10}.get(i, i) for i in whole]
    assert sorted(source.damaged) == [3, 4, 9]
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3  # each clip once
    assert all(line.startswith("damaged clip ") for line in lines)
    assert any("arrayrecord, record 9 ('clip 9'): the video is damaged" in line for line in lines)


def test_too_many_damaged_clips_stop_the_run(damaged):
    source = ClipWindows(damaged, 2, SIDE, max_damaged=0.15)
    message = r"damaged: 3 of 18 clips are damaged, more than max_damaged 0.15 allows: .*record 3"
    with pytest.raises(ValueError, match=message):
        list(islice(make_loader(source, 6, 0), 3))
    with pytest.raises(ValueError, match="1 of 18 clips are damaged, more than max_damaged 0.01"):
        list(islice(make_loader(ClipWindows(damaged, 2, SIDE), 6, 0), 3))


def test_every_clip_damaged(records, tmp_path):
    bad = [_without_video(record) for record in records[:3]]
    source = ClipWindows(ClipDataset(write_dataset(tmp_path / "d", bad)), 2, SIDE, max_damaged=1)
    with pytest.raises(ValueError, match="every clip is damaged"):
        source[0]


def test_degraded_copies_follow_the_window(dataset):
    clips = ClipWindows(dataset, 2, SIDE)
    source = DegradedClips(clips, DegradeConfig())
    for epoch in (0, 1):
        example = source.at(4, epoch)
        np.testing.assert_array_equal(example["video"], clips.at(4, epoch)["video"])
        assert example["degraded"].shape == example["video"].shape


def test_a_clip_is_degraded_otherwise_in_every_epoch():
    source = DegradedClips(ShapesClips("train", 2, num_frames=2, resolution=32), DegradeConfig())
    first, again, second = source[1], source.at(1, 0), source.at(1, 1)
    np.testing.assert_array_equal(first["video"], second["video"])
    np.testing.assert_array_equal(first["degraded"], again["degraded"])
    assert (first["degraded"] != second["degraded"]).any()


def test_a_share_of_the_clips_stays_clean():
    clips = [{"video": np.full((1, 4, 4, 3), 100, np.uint8)} for _ in range(300)]
    mild = DegradeConfig(blur_scale=0.1, codec_probabilities=(0.0, 0.0, 1.0))
    every = DegradedClips(clips, mild)
    source = DegradedClips(clips, mild, clean_probability=0.2)

    def clean_indices(source: DegradedClips, epoch: int) -> set[int]:
        examples = [source.at(index, epoch) for index in range(len(source))]
        return {i for i, e in enumerate(examples) if (e["degraded"] == e["video"]).all()}

    chosen = clean_indices(source, 0)
    assert 40 <= len(chosen) <= 80  # 60 with a deviation of 7
    assert chosen == clean_indices(source, 0)
    assert len(chosen ^ clean_indices(source, 1)) > 50  # others in the next epoch
    assert not clean_indices(every, 0)
    for index in set(range(20)) - chosen:  # the others are degraded as without clean ones
        np.testing.assert_array_equal(source[index]["degraded"], every[index]["degraded"])
    with pytest.raises(ValueError, match="clean_probability is 1.5, expected 0 to 1"):
        DegradedClips(clips, mild, clean_probability=1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "num_frames must be >= 1"),
        ({"resolution": 0}, "resolution must be >= 1"),
        ({"held_back": 0}, "held_back must be >= 1"),
        ({"fps": 0.0}, "fps must be > 0"),
        ({"fps": (8.0, 4.0)}, "fps must be a range from low to high, got 8 to 4"),
        ({"max_damaged": 1.5}, "max_damaged must be from 0 to 1"),
        ({"part": "test"}, "part must be 'train', 'validation' or 'all'"),
        (
            {"num_frames": 48},
            r"d: none of its 18 train clips has 48 frames at their own fps and 32 pixels; "
            r"the longest, "
            r".*00002-of-00003.arrayrecord, record 5, has 47 frames at 24 fps and 32x32 pixels$",
        ),
        ({"num_frames": 20, "fps": 4}, "none of its 18 train clips has 20 frames at 4 fps"),
        ({"resolution": 64}, "none of its 18 train clips has 4 frames at their own fps and 64 pix"),
        ({"resolution": 64}, "clips: videogen ingest SOURCE OUT --short-side 64 --min-side 64$"),
    ],
)
def test_bad_arguments(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        ClipWindows(dataset, **{"num_frames": 4, "resolution": SIDE, **options})


def test_a_dataset_of_one_clip_has_none_to_train_on(records, tmp_path):
    data = ClipDataset(write_dataset(tmp_path / "d", records[:1]))
    with pytest.raises(ValueError, match="its only clip is held back for validation"):
        ClipWindows(data, 4, SIDE)
