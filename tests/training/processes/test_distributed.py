"""The setup of JAX's distributed runtime; test_parallel_training has runs of several processes."""

import re
from pathlib import Path
from typing import Any

import jax
import pytest

from videogen_jax.commands.train import parts
from videogen_jax.training.processes import distributed
from videogen_jax.training.processes.distributed import DistributedConfig

ADDRESS = "localhost:1234"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of calls to `jax.distributed.initialize`, which are only recorded."""
    recorded: list[Any] = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *args, **kwargs: recorded.append((args, kwargs))
    )
    return recorded


def test_a_process_runs_alone_by_default(calls: list[Any]):
    distributed.connect(DistributedConfig())
    assert calls == [] and distributed.is_main()


def test_the_cluster_is_detected(calls: list[Any]):
    distributed.connect(DistributedConfig(initialize=True, heartbeat_timeout_seconds=7))
    assert calls == [((), {"heartbeat_timeout_seconds": 7})]


def test_a_coordinator_is_named(calls: list[Any]):
    distributed.connect(DistributedConfig(False, ADDRESS, 2, 1))
    ((arguments, options),) = calls
    assert arguments == (ADDRESS,)
    assert (options["num_processes"], options["process_id"]) == (2, 1)
    assert options["heartbeat_timeout_seconds"] < 60  # a lost peer ends the others within a minute


def test_a_runtime_that_does_not_start_is_a_clear_error(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("deadline exceeded")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(ValueError, match=f"distributed run at {ADDRESS}: deadline exceeded"):
        distributed.connect(DistributedConfig(False, ADDRESS, 2, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator_address": ADDRESS}, "needs distributed.num_processes and"),
        ({"num_processes": 2, "process_id": 0}, "need distributed.coordinator_address"),
        (
            {"coordinator_address": ADDRESS, "num_processes": 2, "process_id": 2},
            re.escape("distributed.process_id is 2, expected 0 .. 2 - 1"),
        ),
        (
            {"initialize": True, "coordinator_address": ADDRESS}
            | {"num_processes": 2, "process_id": 0},
            "use only one of them",
        ),
        ({"heartbeat_timeout_seconds": 0}, "heartbeat_timeout_seconds is 0, expected 1 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        DistributedConfig(**fields)


def test_the_training_scripts_take_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen: dict[str, Any] = {}
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "connect", lambda config: seen.update(distributed=config))
    monkeypatch.setattr(
        parts, "train_run", lambda config, *_, **options: seen.update(run=config, **options)
    )
    line = ["tiny-stage-1", "--run-dir", str(tmp_path), "--model-dir", str(tmp_path)]
    line += ["--distributed.coordinator-address", ADDRESS, "--distributed.num-processes", "2"]
    line += ["--distributed.process-id", "1", "--mesh.frames", "2", "--profile", "3:5"]
    line += ["--mesh.rules", ".*/kernel", ". fsdp", ".*bias", ""]
    parts.cascade("train", line)
    assert seen["distributed"] == DistributedConfig(False, ADDRESS, 2, 1)
    assert seen["profile"] == (3, 5)
    assert seen["run"].mesh.frames == 2
    assert seen["run"].mesh.rules == ((".*/kernel", ". fsdp"), (".*bias", ""))
