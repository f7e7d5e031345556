"""Ingest of films: a record for each shot, counted, the same after a kill and on other runners."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.moving_clips import H, write_shots
from tests.support.numbered_clips import write_numbered
from videogen_jax.data.clips import ingest as ingest_module
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.splitting import SplitConfig
from videogen_jax.data.clips.ingest import RunnerConfig, ingest
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.errors import UserError

CLIP = ClipConfig(short_side=H, min_side=32)
SPLIT = SplitConfig(split_shots=True, clip_seconds=1.2, min_part_seconds=0.6)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> IngestConfig:
    """Two films and a file that is none; the second film is in the list twice, with two ids."""
    folder = tmp_path_factory.mktemp("films")
    write_shots(folder / "a.mp4", (30, 10, 40))
    write_shots(folder / "b.mp4", (20, 30))
    (folder / "c.mp4").write_bytes(b"PK")
    path = folder / "list.csv"
    path.write_text(
        "path,caption,id,start\na.mp4,one,a,\nc.mp4,two,c,\nb.mp4,three,b,\nb.mp4,four,late,0.8\n"
        "b.mp4,five,b,\n"
    )
    return IngestConfig(str(path), clip=CLIP, clips_per_shard=2, split=SPLIT)


@pytest.fixture(scope="module")
def dataset(config, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "dataset"
    ingest(config, out)
    return out


def contents(out: Path):
    return [(r.id, r.captions, r.start, r.end, r.video) for r in ClipDataset(out)]


def test_every_shot_is_a_record_with_its_times(config, dataset):
    records = list(ClipDataset(dataset))
    folder = Path(config.source).parent
    assert [(r.id, *r.captions, r.num_frames, Path(r.source)) for r in records] == [
        ("a@0.000-1.200", "one", 30, folder / "a.mp4"),
        ("a@1.600-2.800", "one", 30, folder / "a.mp4"),
        ("b@0.000-0.800", "three", 20, folder / "b.mp4"),
        ("b@0.800-2.000", "three", 30, folder / "b.mp4"),
        ("late@0.800-2.000", "four", 30, folder / "b.mp4"),
    ]
    times = [(round(r.start, 3), round(r.end, 3)) for r in records]
    assert times == [(0, 1.2), (1.6, 2.8), (0, 0.8), (0.8, 2), (0.8, 2)]
    assert records[3].video == records[4].video


def test_every_other_part_is_counted(dataset):
    rows = [json.loads(line) for line in (dataset / "rejected.jsonl").read_text().splitlines()]
    assert [(row["id"], row["row"], row["reason"]) for row in rows] == [
        ("a@1.200-1.600", 2, "too_short"),  # a shot
        ("a@2.800-3.200", 2, "too_short"),  # a remainder
        ("c", 3, "undecodable"),
        ("b", 6, "duplicate_id"),
    ]
    info = ClipDataset(dataset).info
    assert info["rejected"] == {"too_short": 2, "undecodable": 1, "duplicate_id": 1}
    assert info["num_clips"] == 5 and info["split"]["clip_seconds"] == 1.2


def test_a_run_resumes_on_another_runner(config, dataset, tmp_path, monkeypatch):
    write, out = ingest_module._write_shard, tmp_path / "out"

    def broken_at_the_second(state, num_shards, sizes, shard, outcomes):
        if shard == 1:
            raise RuntimeError("killed")
        write(state, num_shards, sizes, shard, outcomes)

    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "_write_shard", broken_at_the_second)
        with pytest.raises(RuntimeError, match="killed"):
            ingest(config, out)
    assert len(list(out.glob("clips-*"))) == 1
    ingest(config, out, RunnerConfig("BundleBasedDirectRunner"))
    assert contents(out) == contents(dataset)


def test_own_filters_and_motion_reject_what_they_say(tmp_path):
    """The film pans by half a pixel in a frame, 26 % of its 48 pixels a second.

    A runner selected by name pickles the functions.
    """
    write_shots(tmp_path / "long.mp4", (30,))
    write_shots(tmp_path / "short.mp4", (20,))
    write_numbered(tmp_path / "still.mp4", count=20)  # changes, but nothing in it goes anywhere
    filters = ("tests.support.record_filters:at_most_24_frames",)
    clip = ClipConfig(short_side=H, min_side=32, min_motion=10.0)
    config = IngestConfig(str(tmp_path), clip=clip, filters=filters)
    info = ingest(config, tmp_path / "out", RunnerConfig("BundleBasedDirectRunner"))
    assert info["rejected"] == {"too_many": 1, "motion": 1}
    assert [record.id for record in ClipDataset(tmp_path / "out")] == ["short.mp4"]


def test_a_filter_that_does_not_exist_leaves_nothing_behind(config, tmp_path):
    with pytest.raises(UserError, match="no module nowhere"):
        ingest(dataclasses.replace(config, filters=("nowhere:f",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
