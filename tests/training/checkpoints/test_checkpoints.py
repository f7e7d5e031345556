"""Checkpoints: resuming, damage, retention, starting from another run, and termination."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from tests.support import line_task
from tests.support.run_directories import begin_run
from videogen_jax.configs import RUNS
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.checkpoints.files import find_checkpoint, read_about, read_weights
from videogen_jax.training.processes import peers
from videogen_jax.training.step import TrainState
from videogen_jax.weights.config_file import to_dict

ONE = {"devices": jax.devices()[:1]}
SGD = {"optimizer": optax.sgd(0.1)}  # Adam amplifies differences from the order of summation
PARAM_TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainState]:
    """A run of ten steps on one device, with checkpoints at steps 5 and 10."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return run_dir, line_task.train_line(run_dir, 10, about={"code": "here"}, **ONE)


@pytest.fixture
def copy(whole: tuple[Path, TrainState], tmp_path: Path) -> Path:
    return shutil.copytree(whole[0], tmp_path / "run")


def metric(run_dir: Path, name: str) -> list[float]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(text)[name] for text in lines]


def steps_in(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def assert_equal(state: TrainState, expected: TrainState) -> None:
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_ten_steps_are_five_and_five_bit_for_bit(whole, tmp_path: Path):
    run_dir, expected = whole
    line_task.train_line(tmp_path, 5, **ONE)
    assert_equal(line_task.train_line(tmp_path, 10, **ONE), expected)
    for name in ("order", "loss"):
        assert metric(tmp_path, name) == metric(run_dir, name)


def test_a_run_continues_with_another_number_of_devices(tmp_path: Path):
    expected = line_task.train_line(tmp_path / "one", 10, **ONE, **SGD)
    mesh_config = MeshConfig(data=2, fsdp=4, min_sharded_bytes=1)
    line_task.train_line(tmp_path / "changed", 5, mesh_config=mesh_config, **SGD)
    state = line_task.train_line(tmp_path / "changed", 10, **ONE, **SGD)
    assert metric(tmp_path / "changed", "order") == metric(tmp_path / "one", "order")
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=PARAM_TOLERANCE)


def test_the_best_stays_beside_the_newest(tmp_path: Path):
    loop = dataclasses.replace(
        line_task.LOOP, checkpoint_every=2, keep_checkpoints=1, keep_best=1, best_metric="order"
    )
    line_task.train_line(tmp_path, 10, loop, **ONE)
    order = np.array(metric(tmp_path, "order")).reshape(-1, 2).mean(axis=1)
    best = 2 * (int(order.argmin()) + 1)
    assert best != 10
    assert set(steps_in(tmp_path)) == {str(best), "10"}


def test_checkpoints_that_were_compared_by_another_metric_are_not_the_best(tmp_path: Path):
    loop = dataclasses.replace(
        line_task.LOOP, checkpoint_every=1, keep_checkpoints=1, keep_best=1, best_metric="absent"
    )
    line_task.train_line(tmp_path, 2, dataclasses.replace(loop, best_metric="loss"), **ONE)
    line_task.train_line(tmp_path, 3, loop, **ONE)
    line_task.train_line(tmp_path, 5, dataclasses.replace(loop, best_metric="order"), **ONE)
    best = 4 + int(np.argmin(metric(tmp_path, "order")[3:]))
    assert set(steps_in(tmp_path)) == {str(best), "5"}


def test_a_new_run_begins_with_the_averaged_weights_of_another(whole, tmp_path: Path):
    source, state = whole
    begun = line_task.train_line(tmp_path / "new", 0, init_from=source, **ONE)
    assert int(begun.step) == 0
    assert_equal(begun.params, state.ema)
    assert float(jax.tree.leaves(begun.opt_state)[1].sum()) == 0
    other = line_task.train_line(tmp_path / "5", 0, init_from=source / "checkpoints" / "5", **ONE)
    assert not np.array_equal(other.params["kernel"], state.ema["kernel"])
    with pytest.raises(ValueError, match=r"kernel has shape \(16, 16\), expected \(16, 32\)"):
        line_task.train_line(tmp_path / "wide", 0, init_from=source, width=32, **ONE)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        line_task.train_line(tmp_path / "none", 0, init_from=tmp_path, **ONE)


def test_both_kinds_of_weights_and_any_step_can_be_read(whole):
    run_dir, state = whole
    abstract = jax.eval_shape(lambda: state.params)
    for which in ("params", "ema"):
        assert_equal(read_weights(find_checkpoint(run_dir), which, abstract), getattr(state, which))
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 7; there are: 5, 10"):
        find_checkpoint(run_dir, 7)


def test_a_checkpoint_describes_itself(whole):
    about = read_about(find_checkpoint(whole[0], 5))
    assert (about["step"], about["data"], about["code"]) == (5, {"samples": 120}, "here")
    assert about["metrics"]["loss"] == pytest.approx(np.mean(metric(whole[0], "loss")[:5]))


def test_a_terminated_process_exits_with_0_and_the_same_command_continues(tmp_path: Path, capsys):
    """The command continues in this process, which has the imports already."""
    command = [
        sys.executable,
        line_task.__file__,
        str(tmp_path / "run"),
        "30",
        "1000",
        "16",
        "0.005",
    ]
    environment = {**os.environ, "PYTHONPATH": ".", "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output = process.communicate()[0]
    assert process.returncode == 0
    assert "the same command line continues: " + " ".join(command) in output
    done = int(steps_in(tmp_path / "run")[0])
    assert done < 30
    line_task.main(*command[2:])
    assert f"resuming from the checkpoint of step {done}" in capsys.readouterr().out
    assert set(steps_in(tmp_path / "run")) == {str(done), "30"}


def test_what_a_run_may_continue_with(tmp_path: Path):
    config = RUNS["tiny-stage-1"]
    begin_run(tmp_path, config)
    loop = dataclasses.replace(config.loop, log_every=7, keep_checkpoints=9, steps_during_save=0)
    changed = dataclasses.replace(config, steps=9, mesh=MeshConfig(fsdp=2), loop=loop)
    begin_run(tmp_path, changed)
    assert '"log_every": 7' in (tmp_path / "config.json").read_text()
    other = dataclasses.replace(config, seed=1, init_from="runs/other")
    with pytest.raises(ValueError, match="  init_from: '' there, .*\n  seed: 0 there, 1 now$"):
        begin_run(tmp_path, other)


def test_a_checkpoint_of_another_configuration_is_refused_also_without_its_file(tmp_path: Path):
    config = RUNS["tiny-stage-1"]
    line_task.train_line(tmp_path, 5, about={"config": to_dict(config)}, **ONE)
    begin_run(tmp_path, config)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="  seed: 0 there, 1 now"):
        begin_run(tmp_path, dataclasses.replace(config, seed=1))


@pytest.mark.parametrize(
    ("message", "status"),
    [("Gloo all-reduce failed: Connection reset by peer", peers.LOST_PEER), ("typo", 1)],
)
def test_one_of_several_processes_ends_immediately(monkeypatch, capsys, message: str, status: int):
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left, peers.ending_at_once():
        raise ValueError(message)
    assert left.value.code == status
    assert message in capsys.readouterr().err.splitlines()[-1]
