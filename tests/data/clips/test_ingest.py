"""Ingest end to end: every clip once and in order, also after kills."""

import errno
import json
import os
from collections import Counter

import pytest

from tests.support.kill_ingest import ingest_killed
from tests.support.numbered_clips import H, W, read_numbers, write_numbered, write_sound
from videogen_jax.data.clips import ingest as ingest_module
from videogen_jax.data.clips import ingest_steps
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.ingest import RunnerConfig, ingest
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.video import decode_clip
from videogen_jax.errors import UserError

CLIP = ClipConfig(short_side=H, min_side=32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with eight good clips of 20 to 27 frames and four bad ones."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(8):
        write_numbered(folder / f"good{index}.mp4", count=20 + index)
        (folder / f"good{index}.txt").write_text(f"number {index}")
    (folder / "bad0.mp4").write_bytes(b"")
    write_sound(folder / "bad1.mp4")
    write_numbered(folder / "good4_short.mp4", count=3)
    (folder / "zip.avi").write_bytes(b"PK")
    return folder


@pytest.fixture(scope="module")
def dataset(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "dataset"
    ingest(IngestConfig(str(source), clip=CLIP, clips_per_shard=3), out)
    return out


def contents(out):
    return [(r.id, r.captions, r.num_frames, r.video) for r in ClipDataset(out)]


def test_every_good_clip_is_there_once_in_order(source, dataset):
    records = list(ClipDataset(dataset))
    assert [record.id for record in records] == [f"good{index}.mp4" for index in range(8)]
    for index, record in enumerate(records):
        assert record.captions == (f"number {index}",) and record.fps == 25.0
        assert record.source == str(source / record.id) and (record.h, record.w) == (H, W)
        assert read_numbers(decode_clip(record)) == list(range(20 + index))


def test_what_is_written(dataset):
    info = json.loads((dataset / "dataset_info.json").read_text())
    names = [f"clips-{index:05d}-of-00004.arrayrecord" for index in range(4)]
    others = [
        "clip_checksums.npy",
        "clip_sizes.npy",
        "dataset_info.json",
        "ingest.json",
        "rejected.jsonl",
    ]
    assert sorted(os.listdir(dataset)) == sorted(names + others)
    clips = ClipDataset(dataset)
    sizes = [(clip.num_frames, clip.fps, clip.h, clip.w) for clip in clips]
    assert clips.clip_sizes().tolist() == sizes
    assert (info["num_clips"], info["num_captions"], info["num_frames"]) == (8, 8, 188)
    assert info["shard_clips"] == [1, 3, 2, 2]
    assert info["seconds"] == pytest.approx(188 / 25)
    assert info["fps"] == {"25": 8} and info["sizes"] == {"64x48": 8}
    assert info["clip"]["short_side"] == H and info["clips_per_shard"] == 3


def test_rejections_name_file_row_and_reason(source, dataset):
    rows = [json.loads(line) for line in (dataset / "rejected.jsonl").read_text().splitlines()]
    assert [(row["file"], row["row"], row["reason"]) for row in rows] == [
        (str(source / "bad0.mp4"), 1, "undecodable"),
        (str(source / "bad1.mp4"), 2, "no_video_stream"),
        (str(source / "good4_short.mp4"), 8, "too_short"),
        (str(source / "zip.avi"), 12, "undecodable"),
    ]
    info = json.loads((dataset / "dataset_info.json").read_text())
    assert info["rejected"] == dict(Counter(row["reason"] for row in rows))


def test_second_run_changes_nothing(source, dataset):
    before = {file: file.stat().st_mtime_ns for file in dataset.iterdir()}
    ingest(IngestConfig(str(source), clip=CLIP, clips_per_shard=3), dataset)
    assert {file: file.stat().st_mtime_ns for file in dataset.iterdir()} == before


def test_another_configuration_is_refused(source, dataset, tmp_path):
    before = sorted(os.listdir(dataset))
    other = ClipConfig(short_side=H, min_side=32, crf=20)
    with pytest.raises(
        ValueError, match="clip.crf is 20, was 18; clips_per_shard is 4, was 3. Use"
    ):
        ingest(IngestConfig(str(source), clip=other, clips_per_shard=4), dataset)
    write_numbered(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=f"num_clips is 1, was 12; source is '{tmp_path}', was"):
        ingest(IngestConfig(str(tmp_path), clip=CLIP, clips_per_shard=3), dataset)
    assert sorted(os.listdir(dataset)) == before


def test_a_source_that_has_changed_is_refused(tmp_path):
    write_numbered(tmp_path / "a.mp4")
    path, out = tmp_path / "list.csv", tmp_path / "out"
    path.write_text("path,caption\na.mp4,one\n")
    ingest(IngestConfig(str(path), clip=CLIP), out)
    path.write_text("path,caption\na.mp4,two\n")
    with pytest.raises(ValueError, match="begun with other values: list_sha256 is"):
        ingest(IngestConfig(str(path), clip=CLIP), out)


def test_only_missing_shards_are_made(source, tmp_path, dataset, monkeypatch):
    made, write = tmp_path / "made", ingest_module._write_shard
    made.mkdir()

    def broken_at_the_third(state, num_shards, sizes, shard, outcomes):
        """Counts calls in files, because workers receive a pickled copy of this function."""
        count = len(list(made.iterdir()))
        (made / f"{count} is {shard}").touch()
        if count == 2:
            raise RuntimeError("killed")
        write(state, num_shards, sizes, shard, outcomes)

    config, out = IngestConfig(str(source), clip=CLIP, clips_per_shard=3), tmp_path / "out"
    monkeypatch.setattr(ingest_module, "_write_shard", broken_at_the_third)
    with pytest.raises(RuntimeError, match="killed"):
        ingest(config, out)
    with pytest.raises(ValueError, match="not finished; run the same"):
        ClipDataset(out)
    assert len(list(out.glob("clips-*"))) == 2
    ingest(config, out)
    assert sorted(os.listdir(made)) == ["0 is 0", "1 is 1", "2 is 2", "3 is 2", "4 is 3"]
    assert contents(out) == contents(dataset)


def test_any_number_of_workers_gives_the_same(source, dataset, tmp_path):
    config = IngestConfig(str(source), clip=CLIP, clips_per_shard=3)
    ingest(config, tmp_path / "one", RunnerConfig(workers=1))
    assert contents(tmp_path / "one") == contents(dataset)


def test_another_runner_gives_the_same(source, dataset, tmp_path):
    """A runner selected by name gets all shards in one pipeline and pickles every function."""
    config = IngestConfig(str(source), clip=CLIP, clips_per_shard=3)
    ingest(config, tmp_path / "out", RunnerConfig("BundleBasedDirectRunner"))
    assert contents(tmp_path / "out") == contents(dataset)


def test_a_killed_run_ends_in_a_complete_dataset(source, dataset, tmp_path):
    """Kills the run once; `python -m tests.support.kill_ingest` kills it ten times."""
    (count,) = ingest_killed(source, tmp_path / "out", kills=1, longest_wait=0.0)
    assert count < 4
    assert contents(tmp_path / "out") == contents(dataset)
    assert (tmp_path / "out" / "samples.png").stat().st_size > 10_000


def test_missing_files_are_rejected_unless_all_are(tmp_path):
    path, out = tmp_path / "list.csv", tmp_path / "out"
    path.write_text("path,caption\na.mp4,one\nb.mp4,two\n")
    message = "none of the 2 clips could be taken .missing_file 2.: row 2, .*a.mp4: missing_file"
    with pytest.raises(ValueError, match=message):
        ingest(IngestConfig(str(path), clip=CLIP), out)
    assert os.listdir(out) == ["rejected.jsonl"]
    write_numbered(tmp_path / "b.mp4")
    info = ingest(IngestConfig(str(path), clip=CLIP), out)  # the same command retries
    assert info["num_clips"] == 1 and info["rejected"] == {"missing_file": 1}


def test_any_error_of_a_clip_rejects_that_clip(tmp_path, monkeypatch):
    """Errors of any type, and a file whose codec FFmpeg does not know."""
    errors = {
        "cv2.mp4": RuntimeError("OpenCV(5.0)\n error: (-215) in function 'resize'"),
        "memory.mp4": MemoryError(),
        "disk.mp4": OSError(5, "Input/output error"),
    }
    real = ingest_steps.transcode

    def broken(media, *arguments):
        if error := errors.get(os.path.basename(media)):
            raise error
        return real(media, *arguments)

    for name in (*errors, "good.mp4", "codec.mp4"):
        write_numbered(tmp_path / name, count=16)
    codec = (tmp_path / "codec.mp4").read_bytes()
    (tmp_path / "codec.mp4").write_bytes(codec.replace(b"avc1", b"xyz1"))
    monkeypatch.setattr(ingest_steps, "transcode", broken)
    info = ingest(IngestConfig(str(tmp_path), clip=CLIP), tmp_path / "out")
    assert info["num_clips"] == 1
    report = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    rows = {
        row["id"]: (row["row"], row["reason"], row["detail"]) for row in map(json.loads, report)
    }
    message = "RuntimeError: OpenCV(5.0) error: (-215) in function 'resize'"
    assert rows.pop("cv2.mp4") == (2, "failed", message)
    assert rows.pop("memory.mp4") == (5, "failed", "MemoryError: MemoryError")
    assert rows.pop("disk.mp4") == (3, "undecodable", "[Errno 5] Input/output error")
    assert list(rows) == ["codec.mp4"] and rows["codec.mp4"][1] == "undecodable"


@pytest.mark.parametrize("runner", ["in-process", "BundleBasedDirectRunner"])
def test_an_error_of_the_output_ends_the_run_in_one_line(tmp_path, monkeypatch, capfd, runner):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_numbered(tmp_path / "a.mp4", count=16)
    monkeypatch.setattr(ingest_module, "write_shard", full)
    out = tmp_path / "out"
    message = (
        rf"cannot write {out}/clips-00000-of-00001.arrayrecord \(rows 1 to 1 of the source\): "
        "No space left on device$"
    )
    with pytest.raises(UserError, match=message):
        ingest(IngestConfig(str(tmp_path), clip=CLIP), out, RunnerConfig(runner))
    assert "Traceback" not in capfd.readouterr().err
    assert sorted(os.listdir(out / ".partial")) == ["clips.jsonl", "progress"]


def test_a_package_that_is_missing_ends_the_run(tmp_path, monkeypatch):
    def without_opencv(*_):
        raise ModuleNotFoundError("No module named 'cv2'", name="cv2")

    write_numbered(tmp_path / "a.mp4", count=16)
    monkeypatch.setattr(ingest_steps, "transcode", without_opencv)
    with pytest.raises(UserError, match="this needs the package cv2: pip install"):
        ingest(IngestConfig(str(tmp_path), clip=CLIP), tmp_path / "out")


def test_duplicate_ids_are_rejected(tmp_path):
    write_numbered(tmp_path / "a.mp4")
    path = tmp_path / "list.csv"
    path.write_text("path,caption,id\na.mp4,one,x\na.mp4,two,x\na.mp4,three,y\n")
    info = ingest(IngestConfig(str(path), clip=CLIP), tmp_path / "out")
    assert info["rejected"] == {"duplicate_id": 1}
    assert [r.captions for r in ClipDataset(tmp_path / "out")] == [("one",), ("three",)]


def test_parts_of_one_file(tmp_path):
    write_numbered(tmp_path / "a.mp4")
    path = tmp_path / "list.csv"
    path.write_text("path,caption,start,end\na.mp4,one,0,0.8\na.mp4,two,0.8,\n")
    ingest(IngestConfig(str(path), clip=CLIP), tmp_path / "out")
    numbers = [read_numbers(decode_clip(record)) for record in ClipDataset(tmp_path / "out")]
    assert numbers == [list(range(20)), list(range(20, 40))]


def test_bad_sources_leave_nothing_behind(tmp_path):
    out = tmp_path / "out"
    path = tmp_path / "list.csv"
    for text, message in [
        ("path,caption\n", "list.csv: no clips in it"),
        ("file,caption\na,b\n", "line 1: no column path"),
        ("path,caption\na.mp4,b\nb.mp4\n", "line 3: 1 fields"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            ingest(IngestConfig(str(path), clip=CLIP), out)
        assert not out.exists()
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        ingest(IngestConfig(str(tmp_path / "nothing"), clip=CLIP), out)


def test_foreign_folder_is_refused(tmp_path, source):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"has files that are not of a dataset \(thesis.txt\)"):
        ingest(IngestConfig(str(source), clip=CLIP), tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_bad_clips_per_shard():
    with pytest.raises(ValueError, match="clips_per_shard must be >= 1"):
        IngestConfig("x", clips_per_shard=0)
