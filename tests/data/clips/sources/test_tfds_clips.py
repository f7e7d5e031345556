"""TFDS without tensorflow: the builder for an ingested dataset, and training on its output."""

import dataclasses
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from tests.support.numbered_clips import numbered_record, write_dataset
from videogen_jax.configs import RUNS
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.ingest import ingest
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.records import ClipDataset, DamagedRecord
from videogen_jax.data.clips.sources.lists import SourceOptions
from videogen_jax.data.clips.sources.tfds_clips import TfdsDataset, open_clips, write_tfds
from videogen_jax.data.loader import make_loader
from videogen_jax.training.runs.examples import make_source

tfds = pytest.importorskip("tensorflow_datasets")
# TFDS uses a deprecated feature of protobuf.
pytestmark = pytest.mark.filterwarnings("ignore:label.. is deprecated")

RECORDS = [numbered_record(f"clip {i}", 20 + i, 24 if i % 2 else 12) for i in range(12)]
RECORDS[3] = dataclasses.replace(RECORDS[3], captions=("ein Käfer", "a beetle", "третий"))
RECORDS[4] = dataclasses.replace(RECORDS[4], captions=())


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "clips"
    return write_dataset(folder, RECORDS[:5], RECORDS[5:])


@pytest.fixture(scope="module")
def written(ingested, tmp_path_factory) -> Path:
    return write_tfds(ingested, tmp_path_factory.mktemp("tfds"))


def test_tfds_reads_it_by_name_and_by_folder(written):
    """Keeps the order of the dataset, although TFDS shuffles by default."""
    by_name = tfds.data_source("videogen_clips", data_dir=written.parents[1])["train"]
    by_folder = tfds.builder_from_directory(written).as_data_source("train")
    assert "tensorflow" not in sys.modules
    for source in (by_name, by_folder, pickle.loads(pickle.dumps(by_folder))):
        assert [example["id"].decode() for example in source] == [r.id for r in RECORDS]
    example, record = by_name[3], RECORDS[3]
    assert example["video"] == record.video and example["fps"] == record.fps
    assert [text.decode() for text in example["captions"]] == list(record.captions)
    sizes = (example["num_frames"], example["h"], example["w"])
    assert sizes == (record.num_frames, record.h, record.w)
    assert example["source"].decode() == record.source


def test_builder_by_name(ingested, tmp_path):
    builder = tfds.builder("videogen_clips", dataset=str(ingested), data_dir=tmp_path)
    builder.download_and_prepare()
    assert pickle.loads(pickle.dumps(builder)).as_data_source("train")[0]["id"] == b"clip 0"
    with pytest.raises(ValueError, match="give the ingested folder to write, dataset=DIR"):
        tfds.builder("videogen_clips", data_dir=tmp_path / "new").download_and_prepare()


def test_records_and_sizes_are_those_of_the_ingested_dataset(ingested, written):
    clips, original = open_clips(written), open_clips(ingested)
    assert isinstance(clips, TfdsDataset) and isinstance(original, ClipDataset)
    assert [clips[i] for i in range(len(clips))] == [original[i] for i in range(len(original))]
    np.testing.assert_array_equal(clips.clip_sizes(), original.clip_sizes())
    assert pickle.loads(pickle.dumps(clips))[11] == RECORDS[11]
    for wrong in (-1, 12):
        with pytest.raises(IndexError):
            clips[wrong]


def test_a_run_reads_the_same_batches_from_both(ingested, written):
    run = RUNS["tiny-video-decoder"]
    batches = []
    for folder in (ingested, written):
        data = dataclasses.replace(run.data, dataset=str(folder), fps=8.0)
        source = make_source(dataclasses.replace(run, data=data), "train")
        batches.append(next(make_loader(source, 6, 0)))
    for key in batches[0]:
        np.testing.assert_array_equal(batches[0][key], batches[1][key])


def test_an_existing_dataset_is_not_written_again(ingested, written):
    with pytest.raises(ValueError, match="1.0.0 is there already; give the name of a new dir"):
        write_tfds(ingested, written.parents[1])
    nothing = ingested.parent / "nothing"
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        write_tfds(nothing, nothing)
    assert not os.path.exists(nothing)


def test_a_damaged_record_is_named(ingested, tmp_path):
    folder = write_tfds(ingested, tmp_path)
    shard = next(folder.glob("*.array_record-*"))
    source = tfds.builder_from_directory(folder).as_data_source("train")
    records = source.data_source.__getitems__(range(12))
    writer = ArrayRecordWriter(str(shard), "group_size:1")
    for index, record in enumerate(records):
        writer.write(b"\xff\xff" if index == 2 else record)
    writer.close()
    clips = TfdsDataset(folder)
    assert clips[1] == RECORDS[1]
    with pytest.raises(DamagedRecord, match="videogen_clips/1.0.0, record 2 is damaged"):
        clips[2]


def test_other_datasets_are_a_source_of_ingest_only(tmp_path):
    ours = [
        dataclasses.replace(record, captions=(f"clip {n}",)) for n, record in enumerate(RECORDS)
    ]

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path

        def _info(self):
            features = {"video": tfds.features.Text(), "caption": tfds.features.Text()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for n, record in enumerate(ours[:3]):
                yield n, {"video": record.video, "caption": record.captions[0]}

    Tiny(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    assert "tensorflow" not in sys.modules
    folder, clip = tmp_path / "tiny" / "1.0.0", ClipConfig(min_side=16)
    with pytest.raises(
        ValueError, match="no feature captions, fps, h, id, num_frames, source, w; "
    ):
        open_clips(folder)
    ingest(IngestConfig(str(folder), clip=clip), tmp_path / "out")
    dataset = ClipDataset(tmp_path / "out")
    records = [dataset[n] for n in range(len(dataset))]
    assert [record.captions for record in records] == [(f"clip {n}",) for n in range(3)]
    assert [record.num_frames for record in records] == [20, 21, 22]
    wrong = SourceOptions(video_key="clip")
    with pytest.raises(ValueError, match="no feature 'clip'; there are: caption, video"):
        ingest(IngestConfig(str(folder), wrong, clip), tmp_path / "other")
    with pytest.raises(ValueError, match="cannot read split 'test'"):
        ingest(IngestConfig(str(folder), SourceOptions(split="test"), clip), tmp_path / "other")
