"""Writing checkpoints: training in the meantime, and the handling of failures to write."""

import dataclasses
import errno
import gc
import logging
import re
import resource
import signal
import sys
import threading
import types
from pathlib import Path
from typing import Any

import jax
import pytest
from orbax.checkpoint import multihost

from tests.support import line_task
from videogen_jax.training.checkpoints import checkpoints as checkpoint
from videogen_jax.training.checkpoints.files import find_checkpoint
from videogen_jax.training.checkpoints.quiet import without_save_errors
from videogen_jax.training.checkpoints.save_barriers import SaveBarriers

ONE: Any = {"devices": jax.devices()[:1]}


def steps_in(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_a_full_disk_is_reported_and_the_run_continues(tmp_path: Path, capsys, monkeypatch):
    write = checkpoint.write_manifest

    def fail_at_5(folder: Path) -> None:
        if folder.name.startswith("5."):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder)

    monkeypatch.setattr(checkpoint, "write_manifest", fail_at_5)
    assert int(line_task.train_line(tmp_path, 10, **ONE).step) == 10
    assert "checkpoint of step 5 could not be written (1 failed so far" in capsys.readouterr().err
    assert steps_in(tmp_path) == ["10"]


@pytest.fixture
def no_large_files():
    """Lets the operating system refuse files above 64 KiB, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def frozen_objects():
    """Leaves what other tests have made to later collections: to search it takes seconds."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("no_large_files", "frozen_objects")
def test_a_failed_save_is_reported_in_one_line(tmp_path: Path, capfd, caplog):
    """Orbax itself prints a traceback in each of its threads and for each unfinished write."""
    absl, hook = logging.getLogger("absl"), sys.unraisablehook
    filters = list(absl.filters)
    with pytest.raises(ValueError, match="last checkpoint could not be written: File too large$"):
        line_task.train_line(tmp_path, 10, width=2**14, **ONE)
    gc.collect()
    lines = [line for line in re.split("[\r\n]+", capfd.readouterr().err) if line.strip()]
    assert [line for line in lines if "%|" not in line] == [
        f"checkpoint of step {step} could not be written ({failed} failed so far; none before it): "
        "File too large"
        for step, failed in ((5, 1), (10, 2))
    ]
    assert [record for record in caplog.records if record.name in ("absl", "asyncio")] == []
    assert absl.filters == filters and sys.unraisablehook is hook
    assert steps_in(tmp_path) == []


def test_only_reports_of_failed_saves_are_dropped(monkeypatch, caplog):
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: shown.append(report.exc_value))
    closed, mine = RuntimeError("Event loop is closed"), RuntimeError("mine")
    with without_save_errors():
        logging.getLogger("absl").error("of another package")
        for error in (closed, mine):
            sys.unraisablehook(types.SimpleNamespace(exc_value=error, object=None))
    assert "of another package" in caplog.text and shown == [mine]


@pytest.mark.parametrize(("allowed", "waits"), [(0, True), (1, True), (2, False), (None, False)])
def test_no_more_steps_than_allowed_are_taken_while_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch, allowed: int | None, waits: bool
):
    """A checkpoint is being written until the first of the two steps after it has ended."""
    first_is_over, complete = threading.Event(), []
    write, hold = checkpoint.write_manifest, checkpoint.Checkpoints.hold

    def slowly(folder: Path) -> None:
        first_is_over.wait(0.5 if waits else 60)
        write(folder)

    def watched(self: checkpoint.Checkpoints, step: int, steps_during_save: int | None) -> None:
        hold(self, step, steps_during_save)
        if step in (3, 4):
            complete.append("3" in steps_in(tmp_path))
        if step == 4:
            first_is_over.set()

    monkeypatch.setattr(checkpoint, "write_manifest", slowly)
    monkeypatch.setattr(checkpoint.Checkpoints, "hold", watched)
    loop = dataclasses.replace(line_task.LOOP, checkpoint_every=3, steps_during_save=allowed)
    line_task.train_line(tmp_path, 5, loop, **ONE)
    assert complete == [allowed == 0, waits]


def test_steps_during_a_save_are_none_or_counted():
    with pytest.raises(ValueError, match="loop.steps_during_save is -1, expected 0 or more"):
        dataclasses.replace(line_task.LOOP, steps_during_save=-1)


def test_a_run_whose_last_checkpoint_is_not_written_fails(tmp_path: Path, monkeypatch):
    def fail(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    line_task.train_line(tmp_path, 5, **ONE)
    monkeypatch.setattr(checkpoint, "write_manifest", fail)
    with pytest.raises(ValueError, match="last checkpoint could not be written.*No space left"):
        line_task.train_line(tmp_path, 10, **ONE)
    assert find_checkpoint(tmp_path).name == "5"


@pytest.fixture
def of_two(monkeypatch) -> tuple[SaveBarriers, list[str]]:
    """The barriers of one of two processes, and the names of those at which it has waited."""
    waited: list[str] = []
    wait = lambda *, key, timeout_ms: waited.append(key)  # noqa: E731
    monkeypatch.setattr(multihost, "get_barrier_sync_fn", lambda: wait)
    return SaveBarriers(), waited


SAVE_BEGINS = ["Holder:set_value_start::1", "Holder:set_value_end::1"]
WRITTEN = ["async_write_complete.5", "async_commit_complete.5"]


def test_a_process_meets_the_others_in_every_save_that_is_committed(of_two):
    barriers, waited = of_two
    names = 2 * [*SAVE_BEGINS, *WRITTEN, *SAVE_BEGINS]
    for name in names:
        barriers(key=name, timeout_ms=1)
    assert waited == names and not barriers.failed


@pytest.mark.parametrize("done", [0, 1])
def test_a_process_whose_part_failed_waits_for_nobody_and_reports_why(of_two, done: int):
    barriers, waited = of_two
    for name in [*SAVE_BEGINS, *WRITTEN[:done]]:
        barriers(key=name, timeout_ms=1)
    with pytest.raises(OSError, match="No space left"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            barriers(key=SAVE_BEGINS[0], timeout_ms=1)
    assert barriers.failed and waited == [*SAVE_BEGINS, *WRITTEN[:done]]


def test_one_of_several_processes_does_not_continue_without_its_part(tmp_path: Path, monkeypatch):
    """At its end it also does not wait for the others, which wait for it."""
    checkpoints, waits = checkpoint.Checkpoints(tmp_path), []

    def fail() -> None:
        waits.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(jax, "process_count", lambda: 2)
        patch.setattr(checkpoints, "_barriers", types.SimpleNamespace(failed=True))
        patch.setattr(checkpoints, "_writing", 5)
        patch.setattr(checkpoints._manager, "wait_until_finished", fail)
        message = r"step 5 could not be written here \(none before it; .*No space left"
        with pytest.raises(ValueError, match=message), checkpoints:
            checkpoints.hold(6, None)
    assert len(waits) == 1
    checkpoints._manager.close()
