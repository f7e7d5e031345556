"""TensorFlow Datasets builder for an ingested dataset, in ArrayRecord format, without tensorflow.

Importing this module registers the builder `videogen_clips`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]
from etils import epath

from videogen_jax.data.clips.records import ClipDataset, write_sizes
from videogen_jax.errors import UserError

SPLIT = "train"


class VideogenClips(tfds.core.GeneratorBasedBuilder):
    """The clips of a folder that `videogen ingest` wrote, in their order, as one split.

    To write them:

        builder = tfds.builder("videogen_clips", dataset="data/clips", data_dir="data/tfds")
        builder.download_and_prepare()

    To read them: `tfds.data_source("videogen_clips", data_dir="data/tfds")`.

    Args:
        dataset: the folder; needed only to write.
        file_format: format of the shards.
        **kwargs: `data_dir` and other arguments of TFDS builders.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}
    pkg_dir_path = epath.Path(__file__).parent  # by default TFDS looks for a package of the class

    def __init__(
        self, *, dataset: str | Path = "", file_format: str = "array_record", **kwargs: Any
    ):
        super().__init__(file_format=file_format, **kwargs)
        self._dataset = str(dataset)
        self._original_state |= {"dataset": self._dataset, "file_format": file_format}

    def _info(self) -> Any:
        # TFDS's own Video feature needs tensorflow, and stores each frame as an image.
        features = {
            "id": tfds.features.Text(),
            "video": tfds.features.Text(doc="the bytes of an mp4 file"),
            "captions": tfds.features.Sequence(tfds.features.Text()),
            "fps": np.float64,
            "num_frames": np.int32,
            "h": np.int32,
            "w": np.int32,
            "source": tfds.features.Text(),
            "start": np.float64,
            "end": np.float64,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Clips of one frame rate each, as short-GOP H.264 without B-frames.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # the last clips are those for validation, in both formats
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        clips = self._clips()
        for number in range(len(clips)):
            record = clips[number]
            yield number, {**vars(record), "captions": list(record.captions)}

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        super()._download_and_prepare(*args, **kwargs)
        # `data_path` is the temporary folder, which TFDS renames when it is complete.
        write_sizes(Path(self.data_path), self._clips().clip_sizes().tolist())

    def _clips(self) -> ClipDataset:
        if not self._dataset:
            raise UserError("videogen_clips: give the ingested folder to write, dataset=DIR")
        return ClipDataset(self._dataset)
