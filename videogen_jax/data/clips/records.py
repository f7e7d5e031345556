"""Datasets of real clips on disk: the format of a record, and a random-access reader of the shards.

A dataset is a folder with these files:

- `clips-00000-of-00016.arrayrecord` and so on: the shards, written with `group_size:1`, by which
  every record is one read.
- `clip_sizes.npy`: the sizes of all clips, by which clips are selected without reading them.
- `clip_checksums.npy`: the CRC-32 of every record, checked whenever one is read (1 to 2 ms for each
  MiB). So damaged records and shards that have changed places are found.
- `dataset_info.json`: the description, written last.

A record is a msgpack map of `ClipRecord`'s fields. Its video is H.264 in mp4 with a constant frame
rate, no B-frames and a key frame every few frames: any window of frames is decoded exactly and
quickly (`video.decode_window`).
"""

import bisect
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.data.clips.clip_checksums import read_array, read_checksums
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path, local_copy, require_reachable

INFO_FILE = "dataset_info.json"
SIZES_FILE = "clip_sizes.npy"
SIZES = np.dtype([("num_frames", "<i4"), ("fps", "<f8"), ("h", "<i4"), ("w", "<i4")])
_SHARD_NAME = re.compile(r"clips-(\d{5,})-of-(\d{5,})\.arrayrecord")


class DamagedRecord(UserError):
    """A record that cannot be read or decoded; the message names the file and the record."""


@dataclass(frozen=True)
class ClipRecord:
    """One clip.

    Attributes:
        id: unique in the dataset.
        video: the bytes of an mp4 file.
        captions: none, one or several texts for the same clip.
        fps: frames per second, constant.
        num_frames: number of frames, counted by decoding the video.
        h, w: displayed height and width in pixels, both even.
        source: the file it was made from.
        start, end: the part of that file, in seconds from its first frame; both 0 in datasets of
            versions before these fields.
    """

    id: str
    video: bytes
    captions: tuple[str, ...]
    fps: float
    num_frames: int
    h: int
    w: int
    source: str
    start: float = 0.0
    end: float = 0.0


_TYPES = {
    "id": str,
    "video": bytes,
    "captions": list,
    "fps": float,
    "num_frames": int,
    "h": int,
    "w": int,
    "source": str,
    "start": float,
    "end": float,
}
_LATER = {"start": 0.0, "end": 0.0}  # fields that earlier versions did not have


def pack_record(record: ClipRecord) -> bytes:
    """Serialises a record; the inverse of `unpack_record`."""
    import msgpack

    return msgpack.Packer().pack(asdict(record))


def unpack_record(data: bytes, where: str) -> ClipRecord:
    """Deserialises a record; the inverse of `pack_record`.

    Args:
        where: names the record in errors.

    Raises:
        DamagedRecord: not msgpack, or a field is missing, unknown or of the wrong type.
    """
    import msgpack

    try:
        values = msgpack.unpackb(data)
    except Exception as error:  # msgpack raises many types, ValueError and its own among them
        raise DamagedRecord(f"{where} is damaged: not msgpack ({error})") from error
    names = [field.name for field in fields(ClipRecord)]
    if not isinstance(values, dict) or {*values, *_LATER} != set(names):
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise DamagedRecord(
            f"{where} is damaged: expected the fields {', '.join(names)}, got {found}"
        )
    values = {**_LATER, **values}
    for name, expected in _TYPES.items():
        if type(values[name]) is not expected:
            raise DamagedRecord(
                f"{where} is damaged: {name} is a {type(values[name]).__name__}, "
                f"expected {expected.__name__}"
            )
    if not all(isinstance(caption, str) for caption in values["captions"]):
        raise DamagedRecord(f"{where} is damaged: a caption is not a str")
    return ClipRecord(**{**values, "captions": tuple(values["captions"])})


def shard_name(index: int, count: int) -> str:
    """Returns the file name of shard `index` of `count`."""
    return f"clips-{index:05d}-of-{count:05d}.arrayrecord"


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Writes packed records in order to a new file, which the caller then moves to its place."""
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")  # H.264 shrinks no further
    for record in records:
        writer.write(record)
    writer.close()


def write_sizes(directory: Path, clips: Iterable[tuple[int, float, int, int]]) -> None:
    """Writes frames, fps, height and width of every clip of a dataset, in its order."""
    with replacing(directory / SIZES_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, np.array([tuple(clip) for clip in clips], SIZES))


def read_sizes(directory: Path, count: int) -> np.ndarray:
    """Reads the sizes that `write_sizes` wrote, [N] with the fields of `SIZES`.

    Raises:
        MissingFile: the file does not exist.
        UserError: the file cannot be read, or is not that of a dataset of `count` clips.
    """
    path = directory / SIZES_FILE
    if not path.is_file():
        raise MissingFile(f"no {path}; run videogen ingest again into a new folder")
    return read_array(path, SIZES, count)


class Clips(Protocol):
    """A dataset from which windows are read: `ClipDataset`, or `tfds_clips.TfdsDataset`."""

    directory: Path

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ClipRecord: ...

    def clip_sizes(self) -> np.ndarray:
        """See `ClipDataset.clip_sizes`."""
        ...

    def locate(self, index: int) -> str:
        """Returns the record's location, for messages."""
        ...


class ClipDataset:
    """The records of a dataset that `videogen ingest` wrote; picklable and thread-safe.

    The shards of a dataset in a bucket are copied to this machine (`paths.local_copy`), because
    ArrayRecord reads files of the system.

    Attributes:
        directory: the dataset's folder.
        info: the contents of `dataset_info.json`.

    Raises:
        MissingFile: the folder, the dataset in it or a shard does not exist.
        UserError: ingestion is not finished, the description cannot be read, or there are no clips.
        DamagedRecord: a shard cannot be opened or has an unexpected number of records.
    """

    def __init__(self, directory: str | Path):
        self.directory = as_path(directory)
        require_reachable(self.directory)
        self.info = _read_info(self.directory)
        counts = self.info["shard_clips"]
        self._files = _shard_files(self.directory, len(counts))
        self._ends = list(itertools.accumulate(counts))
        self._local = [local_copy(file) for file in self._files]
        for file, count in zip(self._local, counts, strict=True):
            _check_count(file, count)
        self._source = self._open()
        if not len(self):
            raise UserError(f"{self.directory}: the dataset has no clips")
        self._checksums_N = read_checksums(self.directory, len(self))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> ClipRecord:
        """Returns the record at `index`; raises a DamagedRecord that names file and record."""
        # IndexError ends `for record in dataset`.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in a dataset of {len(self)} clips")
        where = self.locate(index)
        try:
            data = self._source[index]
        except (RuntimeError, ValueError) as error:  # what array_record raises
            raise DamagedRecord(f"{where} is damaged: {error}") from error
        if self._checksums_N is not None and zlib.crc32(data) != self._checksums_N[index]:
            raise DamagedRecord(f"{where} is damaged: it differs from what was written (CRC-32)")
        return unpack_record(data, where)

    def clip_sizes(self) -> np.ndarray:
        """Returns the sizes of all clips without reading them, see `read_sizes`."""
        return read_sizes(self.directory, len(self))

    def sha256(self) -> str:
        """Returns a digest of the description and the sizes of all clips, to identify a dataset."""
        digest = hashlib.sha256()
        for name in (INFO_FILE, SIZES_FILE):
            digest.update((self.directory / name).read_bytes())
        return digest.hexdigest()

    def locate(self, index: int) -> str:
        """Returns `FILE, record N`, for messages."""
        shard = bisect.bisect_right(self._ends, index)
        start = self._ends[shard - 1] if shard else 0
        return f"{self._files[shard]}, record {index - start}"

    def _open(self):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource([str(file) for file in self._local])


def _read_info(directory: Path) -> dict[str, Any]:
    if not directory.is_dir():
        raise MissingFile(f"no dataset folder {directory}")
    path = directory / INFO_FILE
    if not path.is_file():
        if (directory / "ingest.json").is_file():
            raise UserError(
                f"{directory}: not finished; run the same videogen ingest command again"
            )
        raise MissingFile(f"{directory}: no {INFO_FILE}, so no dataset (videogen ingest makes one)")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        counts = info["shard_clips"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: not the description of a dataset: {error!r}") from error
    if not (isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)):
        raise UserError(f"{path}: shard_clips must be a list of counts, got {counts!r}")
    return info


def _shard_files(directory: Path, count: int) -> list[Path]:
    files = [directory / shard_name(index, count) for index in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MissingFile(
            f"{directory}: {len(missing)} of {count} shards are missing, the first is {missing[0]}"
        )
    foreign = [
        file.name
        for file in sorted(directory.glob("clips-*.arrayrecord"))
        if (match := _SHARD_NAME.fullmatch(file.name)) is None or int(match[2]) != count
    ]
    if foreign:
        raise UserError(f"{directory}: {foreign[0]} is not one of the dataset's {count} shards")
    return files


def _check_count(file: Path, expected: int) -> None:
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(file))
        found = reader.num_records()
        reader.close()
    except (RuntimeError, ValueError) as error:
        raise DamagedRecord(f"{file} is damaged: {error or 'cut off'}") from error
    if found != expected:
        raise DamagedRecord(f"{file} has {found} records, {INFO_FILE} says {expected}")
