"""The output folder of ingest: who may write to it, and which earlier run a run continues."""

import json
import os

import pytest

from tests.support.numbered_clips import H, write_numbered
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.ingest import ingest
from videogen_jax.data.clips.ingest_config import Begun, IngestConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.state import IngestFolder
from videogen_jax.errors import UserError

CLIP = ClipConfig(short_side=H, min_side=32)


def write_list(path, *captions):
    path.write_text("path,caption\n" + "".join(f"a.mp4,{text}\n" for text in captions))
    return IngestConfig(str(path), clip=CLIP)


def begun_by_a_killed_run(out, config):
    """Leaves what a run leaves that is killed before its first shard."""
    state = IngestFolder(out)
    with state.locked(), state.new_list() as file:
        file.write(b"the old list")
        state.begin(Begun(config, 3, "digest of the old list"))
    (out / ".lock").write_text("{}\n")
    (out / ".partial" / "shard-00000.json").write_text("{}")
    return state


def snapshot(out):
    files = (file for file in sorted(out.rglob("*")) if file.is_file())
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.mark.parametrize("captions", [("one", "two"), ("one", "other")], ids=["equal", "changed"])
def test_a_second_run_changes_nothing_while_the_first_is_at_work(tmp_path, captions):
    first = write_list(tmp_path / "list.csv", "one", "two")
    state = IngestFolder(tmp_path / "out")
    with state.locked():
        with state.new_list() as file:
            file.write(b"the list of the first run")
            state.begin(Begun(first, 2, "digest"))
        before = snapshot(tmp_path / "out")
        second = write_list(tmp_path / "list.csv", *captions)
        message = f"output folder {tmp_path}/out is in use by process {os.getpid()} on"
        with pytest.raises(UserError, match=message):
            ingest(second, tmp_path / "out")
        assert snapshot(tmp_path / "out") == before


def test_a_mended_list_takes_over_a_folder_without_shards(tmp_path, caplog):
    write_numbered(tmp_path / "a.mp4")
    config = write_list(tmp_path / "list.csv", "mended")
    begun_by_a_killed_run(tmp_path / "out", config)
    with caplog.at_level("INFO"):
        ingest(config, tmp_path / "out")
    assert "has no clips yet and begins anew: list_sha256 is" in caplog.text
    assert [record.captions for record in ClipDataset(tmp_path / "out")] == [("mended",)]
    assert json.loads((tmp_path / "out" / "ingest.json").read_text())["num_clips"] == 1


def test_a_folder_with_shards_is_not_taken_over(tmp_path):
    config = write_list(tmp_path / "list.csv", "mended")
    begun_by_a_killed_run(tmp_path / "out", config)
    (tmp_path / "out" / "clips-00001-of-00003.arrayrecord").write_bytes(b"")
    before = snapshot(tmp_path / "out")
    with pytest.raises(UserError, match="num_clips is 1, was 3. Use them, or"):
        ingest(config, tmp_path / "out")
    before.pop(".lock")
    assert snapshot(tmp_path / "out") == before


def test_a_list_that_cannot_be_read_leaves_the_earlier_one(tmp_path):
    config = write_list(tmp_path / "list.csv", "one")
    begun_by_a_killed_run(tmp_path / "out", config)
    (tmp_path / "list.csv").write_text("path,caption\na.mp4,one\nb.mp4\n")
    with pytest.raises(UserError, match="line 3: 1 fields"):
        ingest(config, tmp_path / "out")
    assert (tmp_path / "out" / ".partial" / "clips.jsonl").read_bytes() == b"the old list"


def test_fields_of_a_later_version_have_their_defaults(tmp_path):
    config = IngestConfig("list.csv", clip=CLIP)
    state = begun_by_a_killed_run(tmp_path / "out", config)
    (tmp_path / "out" / "clips-00000-of-00003.arrayrecord").write_bytes(b"")
    path = tmp_path / "out" / "ingest.json"
    old = json.loads(path.read_text())
    old["config"]["clip"].pop("reject_cuts")
    path.write_text(json.dumps(old))
    state.begin(Begun(config, 3, "digest of the old list"))
    other = IngestConfig("list.csv", clip=ClipConfig(short_side=H, min_side=32, reject_cuts=True))
    with pytest.raises(UserError, match="clip.reject_cuts is True, was False. Use"):
        state.begin(Begun(other, 3, "digest of the old list"))


def test_a_run_killed_while_it_wrote_its_configuration_is_continued(tmp_path):
    state = begun_by_a_killed_run(tmp_path / "out", IngestConfig("list.csv"))
    (tmp_path / "out" / "ingest.json").rename(tmp_path / "out" / ".ingest.0a1b2c3d.json")
    with state.locked():
        pass
    (tmp_path / "out" / ".profile").write_text("")
    with (
        pytest.raises(UserError, match="files that are not of a dataset ..profile."),
        state.locked(),
    ):
        pass


def test_a_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    os.utime(tmp_path, (1, 1))
    with pytest.raises(UserError, match="files that are not of a dataset .thesis.txt."):
        ingest(IngestConfig(str(tmp_path)), tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"] and tmp_path.stat().st_mtime == 1
