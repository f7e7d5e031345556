"""Records on disk, and windows of frames from them."""

import pickle
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from tests.support.numbered_clips import H, W, read_numbers, write_dataset, write_numbered
from videogen_jax.data.clips.clip_checksums import CHECKSUMS_FILE, write_checksums
from videogen_jax.data.clips.files import decoding
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.transcode import transcode
from videogen_jax.data.clips.records import (
    INFO_FILE,
    SIZES_FILE,
    ClipDataset,
    ClipRecord,
    DamagedRecord,
    pack_record,
    shard_name,
    unpack_record,
    write_shard,
    write_sizes,
)
from videogen_jax.data.clips.video import decode_clip, decode_window

RECORD = ClipRecord("a", b"not a video", ("one", "zwölf"), 25.0, 40, H, W, "/clips/a.mp4")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = write_numbered(tmp_path_factory.mktemp("clip") / "a.mp4")
    clip = transcode(path, ClipConfig(short_side=H, min_side=32))
    return ClipRecord("a", captions=("one",), source=str(path), **vars(clip))


def test_round_trip():
    assert unpack_record(pack_record(RECORD), "x") == RECORD


@pytest.mark.parametrize(
    "data,message",
    [
        (b"\xc1", "FILE is damaged: not msgpack"),
        (msgpack.packb([1]), "FILE is damaged: expected the fields id, video"),
        (msgpack.packb({"id": "a"}), r"expected the fields id, video.*got \['id'\]"),
        (pack_record(replace(RECORD, fps="25")), "fps is a str, expected float"),
        (pack_record(replace(RECORD, num_frames=True)), "num_frames is a bool, expected int"),
        (pack_record(replace(RECORD, captions=(1,))), "a caption is not a str"),
        (pack_record(RECORD)[:-3], "FILE is damaged: not msgpack"),
    ],
)
def test_damaged_record(data, message):
    with pytest.raises(DamagedRecord, match=message):
        unpack_record(data, "FILE")


@pytest.mark.parametrize("start", [0, 1, 11, 12, 13, 24, 36, 39])
@pytest.mark.parametrize("stride", [1, 2, 3, 13])
def test_windows_are_exactly_the_requested_frames(record, start, stride):
    count = (39 - start) // stride + 1
    window = decode_window(record.video, start, count, stride)
    assert window.shape == (count, H, W, 3) and window.dtype == np.uint8
    assert read_numbers(window) == list(range(start, 40, stride))
    assert read_numbers(decode_window(record.video, start, 1, stride)) == [start]


def test_a_window_is_decoded_from_the_key_frame_before_it(record, monkeypatch):
    """Key frames are at most 12 frames apart; without a seek, late windows would be slow."""
    decoded, original = [], decoding._decoded

    def counting(*args):
        for item in original(*args):
            decoded.append(item)
            yield item

    monkeypatch.setattr(decoding, "_decoded", counting)
    for start in range(38):
        decoded.clear()
        decode_window(record.video, start, 2)
        assert 2 <= len(decoded) <= 12 + 1


def test_whole_clip(record):
    assert read_numbers(decode_clip(record)) == list(range(40))


def test_window_past_the_end(record):
    with pytest.raises(DamagedRecord, match="frame 40 cannot be decoded"):
        decode_window(record.video, 30, 11)
    with pytest.raises(DamagedRecord, match="record 'a': frame 40 cannot be decoded"):
        decode_clip(replace(record, num_frames=41))
    with pytest.raises(DamagedRecord, match="record 'a': frames are"):
        decode_clip(replace(record, h=H + 2))


@pytest.mark.parametrize("arguments", [(-1, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_bad_window(record, arguments):
    with pytest.raises(ValueError, match="need start >= 0"):
        decode_window(record.video, *arguments)


def test_damaged_video(record):
    for video in (b"", record.video[: len(record.video) // 2]):
        with pytest.raises(DamagedRecord, match="the video is damaged"):
            decode_window(video, 0, 1)
    begin = record.video.index(b"mdat") + 200
    holes = record.video[:begin] + bytes(600) + record.video[begin + 600 :]
    with pytest.raises(DamagedRecord, match="cannot be decoded"):
        decode_window(holes, 0, 40)


def test_dataset(tmp_path):
    records = [replace(RECORD, id=str(index)) for index in range(7)]
    dataset = ClipDataset(write_dataset(tmp_path / "d", records[:3], [], records[3:]))
    assert len(dataset) == 7 and [record.id for record in dataset] == list("0123456")
    assert dataset.locate(2).endswith("clips-00000-of-00003.arrayrecord, record 2")
    assert dataset.locate(3).endswith("clips-00002-of-00003.arrayrecord, record 0")
    assert pickle.loads(pickle.dumps(dataset))[6] == records[6]
    with pytest.raises(IndexError):
        dataset[7]


def test_bad_datasets(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        ClipDataset(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no dataset_info.json, so no dataset"):
        ClipDataset(tmp_path)
    folder = write_dataset(tmp_path / "d", [RECORD], [RECORD])
    second = folder / shard_name(1, 2)
    data = second.read_bytes()
    second.unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2 shards are missing, the first is clips-0"):
        ClipDataset(folder)
    second.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedRecord, match="clips-00001-of-00002.arrayrecord is damaged"):
        ClipDataset(folder)
    second.unlink()
    write_shard(second, [pack_record(RECORD)] * 2)
    with pytest.raises(DamagedRecord, match="00001-of-00002.arrayrecord has 2 records, .* says 1"):
        ClipDataset(folder)
    write_shard(folder / shard_name(0, 3), [])
    second.write_bytes(data)
    with pytest.raises(ValueError, match="00000-of-00003.arrayrecord is not one of the dataset's"):
        ClipDataset(folder)
    (folder / INFO_FILE).write_text("{}")
    with pytest.raises(ValueError, match="not the description of a dataset"):
        ClipDataset(folder)
    (folder / INFO_FILE).unlink()
    (folder / "ingest.json").write_text("{}")
    with pytest.raises(ValueError, match="not finished; run the same"):
        ClipDataset(folder)


def test_empty_dataset(tmp_path):
    with pytest.raises(ValueError, match="the dataset has no clips"):
        ClipDataset(write_dataset(tmp_path / "d", []))


def test_damaged_record_in_a_dataset_is_named(tmp_path):
    folder = write_dataset(tmp_path / "d", [RECORD, RECORD])
    write_shard(folder / shard_name(0, 1), [pack_record(RECORD), b"\xc1"])
    dataset = ClipDataset(folder)
    assert dataset[0] == RECORD
    with pytest.raises(DamagedRecord, match=r"00000-of-00001.arrayrecord, record 1 is damaged"):
        dataset[1]


def test_damaged_bytes_in_a_shard_are_named(tmp_path):
    noise = np.random.default_rng(0).bytes(200_000)
    folder = write_dataset(tmp_path / "d", [replace(RECORD, video=noise)] * 3)
    shard = folder / shard_name(0, 1)
    data = bytearray(shard.read_bytes())
    data[300_000:300_100] = bytes(100)
    shard.write_bytes(data)
    dataset = ClipDataset(folder)
    assert dataset[0].video == dataset[2].video == noise
    with pytest.raises(DamagedRecord, match="record 1 is damaged"):
        dataset[1]


def test_shards_that_change_places_are_found(tmp_path):
    records = [replace(RECORD, id=str(index)) for index in range(4)]
    folder = write_dataset(tmp_path / "d", records[:2], records[2:])
    first, second = (folder / shard_name(index, 2) for index in range(2))
    first.rename(folder / "other")
    second.rename(first)
    (folder / "other").rename(second)
    dataset = ClipDataset(folder)
    for index in range(4):
        with pytest.raises(DamagedRecord, match="record . is damaged: it differs from what was"):
            dataset[index]


def test_a_dataset_of_an_earlier_version_is_read_with_a_line(tmp_path, caplog):
    folder = write_dataset(tmp_path / "d", [RECORD])
    (folder / CHECKSUMS_FILE).unlink()
    assert ClipDataset(folder)[0] == RECORD
    (line,) = caplog.messages
    assert "has no clip_checksums.npy" in line
    for content, message in ((b"", "cannot be read"), (b"PK", "cannot be read")):
        (folder / CHECKSUMS_FILE).write_bytes(content)
        with pytest.raises(ValueError, match=f"clip_checksums.npy {message}"):
            ClipDataset(folder)
    write_checksums(folder, [1, 2])
    with pytest.raises(ValueError, match="clip_checksums.npy is not of this dataset of 1 clips"):
        ClipDataset(folder)


def test_sizes_of_another_dataset(tmp_path):
    folder = write_dataset(tmp_path / "d", [RECORD])
    dataset = ClipDataset(folder)
    assert dataset.clip_sizes().tolist() == [(40, 25.0, H, W)]
    write_sizes(folder, [(40, 25.0, H, W)] * 2)
    with pytest.raises(ValueError, match=r"clip_sizes.npy is not of this dataset of 1 clips"):
        dataset.clip_sizes()
    (folder / SIZES_FILE).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"clip_sizes.npy cannot be read"):
        dataset.clip_sizes()
    (folder / SIZES_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*clip_sizes.npy; run videogen ingest again"):
        dataset.clip_sizes()
