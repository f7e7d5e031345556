"""The same training on 1 device, on 8 devices and on several processes."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import line_task, parallel_training
from tests.support.processes import run_processes
from videogen_jax.sharding import MeshConfig

LOSS_RTOL, PARAMS_ATOL = 1e-5, 1e-6


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    parallel_training.train_on(MeshConfig(), out, jax.devices()[:1])
    return out


def assert_same_training(out: Path, expected: Path) -> None:
    assert len(parallel_training.losses(out)) == parallel_training.STEPS
    np.testing.assert_allclose(
        parallel_training.losses(out), parallel_training.losses(expected), rtol=LOSS_RTOL
    )
    found = parallel_training.params(out)
    for path, value in parallel_training.params(expected).items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=PARAMS_ATOL, err_msg=path)


@pytest.mark.slow  # with the ones below, which need it
def test_training_changes_the_parameters(on_one_device: Path):
    """The comparisons below need a training with an effect."""
    start = parallel_training.start()["conv_in"]["kernel"]
    moved = np.abs(parallel_training.params(on_one_device)["conv_in/kernel"] - start)
    assert moved.max() > 1000 * PARAMS_ATOL


# 40 seconds with the training on one device. `.ci/run` runs (2, 2, 2), which has every axis; two
# processes train a matrix in the quick suite.
@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2)])
def test_eight_devices_train_as_one(
    on_one_device: Path, tmp_path: Path, sizes: tuple[int, int, int]
):
    parallel_training.train_on(MeshConfig(*sizes, min_sharded_bytes=1), tmp_path)
    assert_same_training(tmp_path, on_one_device)


def test_two_processes_train_a_matrix_as_one(tmp_path: Path, monkeypatch):
    """They have half of every batch and of the matrix each, and validate, save and end together."""
    two, one = tmp_path / "two", tmp_path / "one"
    monkeypatch.setenv("VALIDATE_EVERY", "3")
    arguments = [two, 6, 3, 16, 0]
    run_processes(line_task.__file__, arguments, tmp_path, processes=2, devices=2)
    loop = dataclasses.replace(line_task.LOOP, validate_every=3)
    line_task.train_line(one, 6, loop, devices=jax.devices()[:1])
    losses = parallel_training.losses(two)
    assert len(losses) == 6 and losses[-1] < 0.99 * losses[0]
    np.testing.assert_allclose(losses, parallel_training.losses(one), rtol=LOSS_RTOL)
    validated = parallel_training.losses(two, "val/loss")
    assert len(validated) == 3  # at step 0, 3 and 6, each once
    expected = parallel_training.losses(one, "val/loss")
    np.testing.assert_allclose(validated, expected, rtol=LOSS_RTOL)
    assert {path.name for path in (two / "checkpoints").iterdir() if path.is_dir()} == {"3", "6"}


@pytest.mark.slow  # each process compiles the stage's step, a minute together
def test_two_processes_train_as_one(on_one_device: Path, tmp_path: Path):
    train_on_processes(tmp_path, (1, 4, 1), processes=2, devices=2)
    assert_same_training(tmp_path, on_one_device)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 1, 4), (1, 4, 1)])
def test_four_processes_train_as_one(
    on_one_device: Path, tmp_path: Path, sizes: tuple[int, int, int]
):
    """With one device each, they share every clip: none reads a part of the batch alone, or has all
    parameters."""
    train_on_processes(tmp_path, sizes, processes=4, devices=int(np.prod(sizes)) // 4)
    assert_same_training(tmp_path, on_one_device)


def train_on_processes(
    out: Path, sizes: tuple[int, int, int], processes: int, devices: int
) -> None:
    printed = run_processes(
        parallel_training.__file__, [out, *sizes], out, processes=processes, devices=devices
    )
    assert "loss=" in printed[0]  # the progress line
    assert not any("loss=" in text for text in printed[1:])
