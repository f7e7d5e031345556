"""Runs that stop at SIGTERM or Ctrl-C, with a checkpoint from which they continue."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import line_task
from tests.support.parallel_training import losses
from videogen_jax.training.processes.preemption import Notice, Preempted, listening

ONE: Any = {"devices": jax.devices()[:1]}
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers():
    """Python's own handlers, also where pytest runs in the background with SIGINT ignored."""
    before = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ]
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def steps_in(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [(signal.SIGTERM, "SIGTERM", 0), (signal.SIGINT, "Ctrl-C", 130)],
)
def test_a_signal_ends_a_run_with_a_checkpoint_from_which_it_continues(
    tmp_path: Path, capfd, number: signal.Signals, name: str, status: int
):
    run_dir = tmp_path / "run"
    with pytest.raises(Preempted) as stopped:
        line_task.train_line(run_dir, 10, data=line_task.StoppingAfter(3, number), **ONE)
    assert (stopped.value.step, stopped.value.code) == (3, status)
    assert steps_in(run_dir) == ["3"]
    out, err = capfd.readouterr()
    assert f"stopped by {name}: the checkpoint of step 3 of 10 is written; the same" in out
    assert ("press Ctrl-C again to end without one" in err) == (number == signal.SIGINT)
    continued = line_task.train_line(run_dir, 10, **ONE)
    whole = line_task.train_line(tmp_path / "whole", 10, **ONE)
    jax.tree.map(np.testing.assert_array_equal, continued, whole)


def test_a_validation_that_a_stopping_run_skips_is_made_up_for(tmp_path: Path):
    loop = dataclasses.replace(line_task.LOOP, validate_every=5)
    validated = lambda run_dir: losses(run_dir, "val/loss")
    with pytest.raises(Preempted):
        stopping = line_task.StoppingAfter(5, signal.SIGTERM)
        line_task.train_line(tmp_path / "run", 10, loop, data=stopping, **ONE)
    assert len(validated(tmp_path / "run")) == 1  # before the first step
    line_task.train_line(tmp_path / "run", 10, loop, **ONE)
    line_task.train_line(tmp_path / "whole", 10, loop, **ONE)
    assert validated(tmp_path / "run") == validated(tmp_path / "whole")


def test_a_second_ctrl_c_ends_a_run_without_a_checkpoint(tmp_path: Path):
    twice = line_task.StoppingAfter(3, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        line_task.train_line(tmp_path, 10, data=twice, **ONE)
    assert steps_in(tmp_path) == []


def test_a_signal_in_the_last_step_is_not_lost(tmp_path: Path):
    """Whoever trains several parts must not begin the next one."""
    with pytest.raises(Preempted):
        line_task.train_line(tmp_path, 3, data=line_task.StoppingAfter(3, signal.SIGINT), **ONE)
    assert steps_in(tmp_path) == ["3"]
    assert int(line_task.train_line(tmp_path, 3, **ONE).step) == 3


def test_a_ctrl_c_that_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with listening() as notice:
        os.kill(os.getpid(), signal.SIGINT)
        assert not notice.reached(1)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_one_of_several_processes_informs_the_others_by_sigterm(monkeypatch):
    """JAX's runtime handles it there; see `tests/support/faults.py` for real processes."""
    sent: list[Any] = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    notice = Notice()
    notice.interrupt()
    assert sent == [(os.getpid(), signal.SIGTERM)] and notice.status == 130
    with pytest.raises(KeyboardInterrupt):
        notice.interrupt()
