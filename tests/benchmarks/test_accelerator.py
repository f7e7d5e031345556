"""The accelerator benchmark: its dry run, its time limits, and its page of results."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.accelerator import driver, page, planned, reference_video, results
from benchmarks.accelerator.measure import difference, random_like
from benchmarks.accelerator.parts import PARTS, Part, training
from benchmarks.accelerator.parts.correct import judge
from benchmarks.accelerator.results import Report

ROOT = Path(__file__).parents[2]
ABSENT = ("av", "grain", "tyro", "tensorboardX", "diffusers", "torch", "cv2", "array_record")
HIDING = f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name in {ABSENT} else find(name, *rest)
)
"""
WHEELS_MIB = 7  # diffusers and its requirement, see the README


def report(out: Path, seconds: float = 60.0, dry_run: bool = False) -> Report:
    record = {"status": "running", "seconds": 0, "tables": {}, "notes": [], "failures": []}
    results.update(out, lambda found: found["parts"].update(part=record))
    return Report(out, "part", seconds, dry_run)


# Three minutes of CPU time. The tests below run single functions of the parts; `.ci/run` runs this.
@pytest.mark.slow
def test_the_dry_run_does_every_part_without_optional_packages(tmp_path: Path):
    """The process cannot import optional packages, as on a machine where they are not installed."""
    site, out = tmp_path / "site", tmp_path / "out"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HIDING)
    command = [sys.executable, "-m", "benchmarks.accelerator", "--dry-run", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    before = set(ROOT.iterdir())
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    log = (out / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + log[-3000:]
    found = results.read(out)["parts"]
    assert list(found) and set(found) == set(PARTS)
    assert {part: record["status"] for part, record in found.items()} == dict.fromkeys(
        PARTS, "done"
    )
    assert all(record["tables"] for record in found.values())
    assert found["resume"]["tables"]["runs"][1]["largest"] == 0  # resumed = uninterrupted
    assert found["correct"]["tables"]["video"][0]["worst_frame_db"] > 60
    assert "torch is not installed" in done.stdout
    assert {p.name for p in out.iterdir()} == {"results.json", "log.txt", "video.png"}
    assert set(ROOT.iterdir()) - before <= {ROOT / "__pycache__", ROOT / ".pytest_cache"}


def fake_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Part:
    """Returns a part whose process runs `body`."""
    script = tmp_path / "part.py"
    script.write_text(body)
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return popen([sys.executable, str(script), *command[3:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(driver.subprocess, "Popen", start)
    return Part("fake", "", 1.0, 0.5)


def test_a_part_that_takes_too_long_is_stopped_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pid = tmp_path / "pid"
    body = (
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '987'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(987)\n"
    )
    part = fake_part(tmp_path, monkeypatch, body)
    monkeypatch.setattr(driver, "_GRACE", 0.5)
    began = time.monotonic()
    assert driver.run_parts([part], tmp_path / "out", 6.0, dry_run=False) == 1
    assert time.monotonic() - began < 60
    assert results.read(tmp_path / "out")["parts"]["fake"]["status"].startswith("stopped")
    state = Path(f"/proc/{pid.read_text()}/stat")
    assert not state.exists() or " Z " in state.read_text()


def test_a_part_that_crashes_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    part = fake_part(tmp_path, monkeypatch, "import os\nos.abort()\n")
    other = part._replace(name="other")
    assert driver.run_parts([part, other], tmp_path / "out", 60.0, dry_run=False) == 1
    found = results.read(tmp_path / "out")["parts"]
    assert all(
        found[name]["status"].startswith("failed: exit status") for name in ("fake", "other")
    )
    assert "2 with failures" in capsys.readouterr().out


def test_results_are_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "results.json").write_text("{}")
    assert driver.run_parts([], tmp_path, 60.0, dry_run=True) == 1
    assert "has results already" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == "{}"


def test_an_attempt_that_fails_is_a_failure_and_one_without_time_a_note(tmp_path: Path):
    short = report(tmp_path, seconds=1.0)
    assert short.attempt("late", lambda: 1, needs=5.0) is None
    assert short.attempt("early", lambda: 1, needs=0.1) == 1
    short.attempt("broken", lambda: 1 / 0, needs=0.1)
    record = results.read(tmp_path)["parts"]["part"]
    assert record["notes"][0].startswith("late: left out")
    assert record["failures"] == ["broken: ZeroDivisionError: division by zero"]


def test_wrong_and_infinite_values_are_failures(tmp_path: Path):
    found, exact = report(tmp_path), {"a": np.ones(4)}
    judge(found, "equal", difference({"a": np.ones(4)}, exact), 1e-4)
    judge(found, "far", difference({"a": np.full(4, 1.01)}, exact), 1e-4)
    judge(found, "infinite", difference({"a": np.array([1, 1, 1, np.inf])}, exact), 1e9)
    failures = results.read(tmp_path)["parts"]["part"]["failures"]
    assert [failure.split(":")[0] for failure in failures] == ["far", "infinite"]


def test_random_parameters_are_of_the_shapes_and_finite():
    shapes = {
        "dense": {"kernel": jax.ShapeDtypeStruct((30, 7), np.float32)},
        "norm": {"scale": jax.ShapeDtypeStruct((9,), np.float32)},
        "tokens": jax.ShapeDtypeStruct((5,), np.int32),
    }
    drawn = random_like(shapes)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), drawn) == jax.tree.map(
        lambda x: (x.shape, x.dtype), shapes
    )
    assert 0.5 < drawn["dense"]["kernel"].std() * 30**0.5 < 1.5
    assert abs(drawn["norm"]["scale"].mean() - 1) < 0.2


def test_the_largest_batch_is_predicted_by_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(planned, "FILE", tmp_path / "planned.json")
    assert training.planned_batch("paper-stage-1", 100.0) == 1
    figures = {"paper-stage-1": {"2": 24.0, "8": 30.0, "16": 46.0}}  # the first is off the line
    (tmp_path / "planned.json").write_text(json.dumps({"bytes": figures}))
    assert training.planned_bytes("paper-stage-1", 32) == 78.0
    assert training.planned_batch("paper-stage-1", 79.9) == 32


def test_frames_in_a_strip_come_back(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    reference_video.save_strip(tmp_path / "strip.png", frames)
    assert (reference_video.read_strip(tmp_path / "strip.png") == frames).all()
    assert (reference_video.frame_psnr(frames, frames) == 99).all()
    assert reference_video.frame_psnr(frames, 255 - frames).max() < 10


def test_the_page_is_what_the_script_writes():
    assert page.PAGE.read_text() == page.render(page.read_kept())


def test_the_page_shows_every_table_and_failure():
    record = {
        "status": "done",
        "seconds": 3.2,
        "tables": {"steps": [{"run": "paper-stage-1", "ms": 12.345}]},
        "notes": ["a note"],
        "failures": ["this broke"],
    }
    about = {
        "command": "c",
        "began": "t",
        "cpus": 16,
        "python": "3.12",
        "packages": {"jax": "0.11"},
    }
    text = page.render({"2026-12-01-h100": {"about": about, "parts": {"training": record}}})
    for expected in ("| paper-stage-1 | 12.3 |", "**Failed**: this broke", "- a note", "jax 0.11"):
        assert expected in text
    assert "No run was made" not in text


def test_tree_and_wheels_fit_the_size_limit():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so what travels is not known")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    total = sum(path.stat().st_size for path in files if path.is_file())
    assert total / 2**20 + WHEELS_MIB < 60


def test_stored_results_are_complete():
    for results_of_a_run in page.read_kept().values():
        assert json.dumps(results_of_a_run) and set(results_of_a_run) == {"about", "parts"}
