"""Samples are drawn after the checkpoint of their step, and a failure does not end the run."""

import dataclasses
import errno
import signal
import time
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.support import line_task
from videogen_jax.errors import UserError
from videogen_jax.training import samples
from videogen_jax.training.checkpoints import checkpoints
from videogen_jax.training.processes.preemption import Preempted
from videogen_jax.training.telemetry.metrics_writer import NoMetrics

ONE: Any = {"devices": jax.devices()[:1]}
LOOP = dataclasses.replace(line_task.LOOP, sample_every=2, checkpoint_every=2)
OUT_OF_MEMORY = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 80 GiB\nand more lines")


def steps_in(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


@pytest.fixture
def drawing(monkeypatch):
    """Replaces the drawing of the task's samples by a function without arguments."""

    def replace(draw: Any) -> None:
        monkeypatch.setattr(line_task.LineTask, "samples", lambda *_: draw())

    return replace


def test_a_checkpoint_is_complete_before_its_samples_are_drawn(
    tmp_path: Path, monkeypatch, drawing
):
    write, complete = checkpoints.write_manifest, []

    def slowly(folder: Path) -> None:
        time.sleep(0.3)
        write(folder)

    monkeypatch.setattr(checkpoints, "write_manifest", slowly)
    drawing(lambda: complete.append(steps_in(tmp_path)[-1]))
    line_task.train_line(tmp_path, 5, LOOP, **ONE)
    assert complete == ["2", "4", "5"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OUT_OF_MEMORY, "RESOURCE_EXHAUSTED: 80 GiB"),
        (MemoryError(), "MemoryError"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (UserError("clips are too short"), "clips are too short"),
    ],
)
def test_training_goes_on_after_a_failure_of_one_line(
    tmp_path: Path, capsys, drawing, error: Exception, shown: str
):
    def fail() -> None:
        raise error

    drawing(fail)
    assert int(line_task.train_line(tmp_path, 5, LOOP, **ONE).step) == 5
    assert steps_in(tmp_path) == ["2", "4", "5"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "samples of step" in line]
    assert [line[: len("the samples of step 2")] for line in lines] == [
        f"the samples of step {step}" for step in (2, 4, 5)
    ]
    assert all(
        line.endswith(
            f"could not be drawn; training goes on (--loop.sample-every 0 draws none): {shown}"
        )
        for line in lines
    )


def test_a_bug_keeps_its_traceback(tmp_path: Path, drawing, caplog):
    drawing(lambda: 1 / 0)
    line_task.train_line(tmp_path, 2, LOOP, **ONE)
    assert "ZeroDivisionError: division by zero" in caplog.text and "test_samples.py" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_ends_it_here_too(tmp_path: Path, drawing, error: Any):
    def end() -> None:
        raise error

    drawing(end)
    with pytest.raises(error):
        line_task.train_line(tmp_path, 5, LOOP, **ONE)
    assert steps_in(tmp_path) == ["2"]


def test_a_run_that_is_told_to_stop_draws_no_samples_first(tmp_path: Path, drawing):
    drawn = []
    drawing(lambda: drawn.append(1))
    with pytest.raises(Preempted):
        stopping = line_task.StoppingAfter(2, signal.SIGTERM)
        line_task.train_line(tmp_path, 5, LOOP, data=stopping, **ONE)
    assert drawn == [] and steps_in(tmp_path) == ["2"]


def test_several_processes_wait_for_each_other_unless_one_is_lost(monkeypatch, caplog):
    waited: list[str] = []
    wait = lambda *, key, timeout_ms: waited.append(key)  # noqa: E731
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(samples.multihost, "get_barrier_sync_fn", lambda: wait)

    class Failing(line_task.LineTask):
        error: Exception = OUT_OF_MEMORY

        def samples(self, params, seed):
            raise self.error

    samples.draw_samples(Failing(), {}, 0, 7, NoMetrics())
    assert waited == ["samples.7"] and "samples of step 7 could not be drawn" in caplog.text
    Failing.error = RuntimeError("Gloo all-reduce failed: Connection reset by peer")
    with pytest.raises(RuntimeError, match="Gloo"):
        samples.draw_samples(Failing(), {}, 0, 8, NoMetrics())
    assert waited == ["samples.7"]
