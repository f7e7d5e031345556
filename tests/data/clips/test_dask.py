"""Ingest on a Dask cluster whose worker is killed: the same dataset as in one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ingest_on_dask import config_of
from tests.support.moving_clips import write_shots
from tests.support.numbered_clips import write_numbered
from videogen_jax.data.clips.ingest import ingest
from videogen_jax.data.clips.records import ClipDataset

ROOT = Path(__file__).parents[3]


@pytest.mark.slow  # starts a cluster; `test_a_run_resumes_on_another_runner` is quicker
def test_a_cluster_whose_worker_is_killed_gives_the_same(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for index in range(8):
        write_numbered(source / f"number{index}.mp4", count=20 + index)
    for index in range(4):
        write_shots(source / f"shots{index}.mp4", (20, 25 + index, 30))
    (source / "zip.mp4").write_bytes(b"PK")
    ingest(config_of(source), tmp_path / "one")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.ingest_on_dask", source, tmp_path / "two"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"killed after (\d+) of 7 shards", done.stdout)
    assert found and int(found[1]) < 7
    one, two = ([vars(record) for record in ClipDataset(tmp_path / n)] for n in ("one", "two"))
    assert len(one) == 20 and one == two
    reports = [(tmp_path / name / "rejected.jsonl").read_text() for name in ("one", "two")]
    assert reports[0] == reports[1] and "zip.mp4" in reports[0]
