"""Reader of clips in a prepared TensorFlow Datasets folder (ArrayRecord), without tensorflow.

The dataset must contain whole video files as bytes (a `Text` feature): TFDS's own `Video` feature
needs tensorflow and stores each frame as an image. Any such dataset is a source for ingestion;
datasets of `tfds_builder.py` can also be trained on directly.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.data.clips.records import (
    ClipDataset,
    ClipRecord,
    Clips,
    DamagedRecord,
    read_sizes,
)
from videogen_jax.errors import UserError
from videogen_jax.paths import as_path, require_local

FEATURES_FILE = "features.json"
_SPLIT = "train"


def open_clips(directory: str | Path) -> Clips:
    """Opens a dataset to train on, of `videogen ingest` or the TFDS builder `videogen_clips`.

    Raises:
        MissingFile, UserError: see `ClipDataset` and `TfdsDataset`.
    """
    is_tfds = (as_path(directory) / FEATURES_FILE).is_file()
    if is_tfds:
        require_local(directory, "the TFDS dataset")
    return TfdsDataset(directory) if is_tfds else ClipDataset(directory)


def write_tfds(dataset: Path, data_dir: Path) -> Path:
    """Writes an ingested dataset with the TFDS builder `videogen_clips`.

    Args:
        dataset: folder of `videogen ingest`.
        data_dir: TFDS's folder of datasets.

    Returns:
        the folder of the version, which `open_clips` opens.

    Raises:
        MissingFile, UserError: see `ClipDataset`; or the folder of the version already exists.
    """
    ClipDataset(dataset)  # raises before anything is written
    from videogen_jax.data.clips.tfds_builder import VideogenClips

    builder: Any = VideogenClips(dataset=dataset, data_dir=data_dir)
    path = Path(builder.data_path)
    if path.exists():
        raise UserError(f"{path} is there already; give the name of a new directory")
    builder.download_and_prepare()
    return path


class TfdsDataset:
    """The records of a folder that the builder `videogen_clips` wrote; picklable and thread-safe.

    Attributes:
        directory: folder of the version, such as `data/tfds/videogen_clips/1.0.0`.

    Raises:
        UserError: see `open_split`; or the dataset lacks a feature, or has no clips.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self._source = open_split(str(directory), _SPLIT)
        expected = {field.name for field in fields(ClipRecord)} - {"start", "end"}  # added later
        found = set(self._source.dataset_info.features)
        if not expected <= found:
            raise UserError(
                f"{self.directory}: no feature {', '.join(sorted(expected - found))}; only datasets"
                " that videogen_clips wrote are trained on directly, use videogen ingest for others"
            )
        if not len(self._source):
            raise UserError(f"{self.directory}: the dataset has no clips")

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> ClipRecord:
        """Returns the record at `index`; raises a DamagedRecord that names it."""
        # IndexError ends `for record in dataset`.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in a dataset of {len(self)} clips")
        try:
            example = self._source[index]
            texts = {key: example[key].decode("utf-8") for key in ("id", "source")}
            captions = tuple(caption.decode("utf-8") for caption in example["captions"])
        except Exception as error:  # array_record, protobuf and TFDS each raise their own types
            raise DamagedRecord(f"{self.locate(index)} is damaged: {error}") from error
        return ClipRecord(
            video=example["video"],
            captions=captions,
            fps=float(example["fps"]),
            num_frames=int(example["num_frames"]),
            h=int(example["h"]),
            w=int(example["w"]),
            start=float(example.get("start", 0.0)),
            end=float(example.get("end", 0.0)),
            **texts,
        )

    def clip_sizes(self) -> np.ndarray:
        """Returns the sizes of all clips without reading them, see `read_sizes`."""
        return read_sizes(self.directory, len(self))

    def locate(self, index: int) -> str:
        """Returns `FOLDER, record N`, for messages."""
        return f"{self.directory}, record {index}"


def open_split(directory: str, split: str) -> Any:
    """Opens a split as a random-access source of dicts.

    Raises:
        UserError: the split does not exist, or the folder is not a dataset in ArrayRecord format.
    """
    import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]

    try:
        # Its decorators hide the arguments from a type checker.
        open_builder: Any = tfds.builder_from_directory
        return open_builder(directory).as_data_source(split)
    except Exception as error:  # TFDS raises its own types for each of its formats
        raise UserError(f"{directory}: cannot read split {split!r} by TFDS: {error}") from error


def video_and_captions(
    example: dict[str, Any], video_key: str, caption_key: str, where: str
) -> tuple[bytes, tuple[str, ...]]:
    """Returns the video file's bytes and the captions of an example.

    Raises:
        UserError: the example lacks a key, or its video is not bytes.
    """
    for key in (video_key, caption_key):
        if key not in example:
            raise UserError(f"{where}: no feature {key!r}; there are: {', '.join(example)}")
    video, caption = example[video_key], example[caption_key]
    if not isinstance(video, bytes):
        raise UserError(
            f"{where}: {video_key!r} is {type(video).__name__}, expected the bytes of a video file"
        )
    text = caption.decode("utf-8") if isinstance(caption, bytes) else str(caption)
    return video, (text,) if text.strip() else ()
