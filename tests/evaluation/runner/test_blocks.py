"""Statistics in blocks: equal for any number of processes, and after an interruption."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner import blocks
from videogen_jax.evaluation.runner.blocks import BLOCKS, accumulate, collect
from videogen_jax.evaluation.runner.measures import Batch, Measure
from videogen_jax.evaluation.statistics import Moments, merge_all

COUNT, FEATURES = 150, 4
VALUES = np.random.default_rng(0).normal(5, 3, (COUNT, FEATURES))


def add(moments: Moments, batch: Batch) -> Moments:
    return moments.update(VALUES[list(batch.indices)])


MEASURE = Measure(lambda: Moments.empty(FEATURES), add, lambda *_: {}, lambda *_: {})


def read(indices: tuple[int, ...]) -> Batch:
    return Batch(indices, np.zeros(0), ())


def run(folder: Path, reading: Any = read, batch: int = 2, **settings: Any) -> None:
    accumulate(folder, settings, COUNT, reading, lambda: MEASURE, batch, save_seconds=0)


def as_process(monkeypatch, number: int, processes: int) -> None:
    monkeypatch.setattr(jax, "process_index", lambda: number)
    monkeypatch.setattr(jax, "process_count", lambda: processes)


@pytest.fixture
def alone(tmp_path) -> list[Moments]:
    run(tmp_path / "alone")
    return collect(tmp_path / "alone", COUNT, MEASURE)


def assert_same(found: list[Moments], expected: list[Moments]) -> None:
    """Bit for bit."""
    assert len(found) == len(expected) == BLOCKS
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_blocks_together_are_the_whole_set(alone):
    whole = merge_all(alone)
    assert whole.count == COUNT
    np.testing.assert_allclose(whole.mean_D, VALUES.mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance_DD(), np.cov(VALUES.T), rtol=1e-10)
    np.testing.assert_allclose(alone[3].mean_D, VALUES[3::BLOCKS].mean(0), rtol=1e-12)


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_give_the_same_statistics(monkeypatch, tmp_path, alone, processes):
    seen: list[set[int]] = []
    for number in range(processes):
        as_process(monkeypatch, number, processes)
        own: set[int] = set()
        run(tmp_path / "shared", lambda indices, own=own: (own.update(indices), read(indices))[1])
        seen.append(own)
    assert sorted(index for own in seen for index in own) == list(range(COUNT))
    assert max(map(len, seen)) - min(map(len, seen)) <= BLOCKS
    assert_same(collect(tmp_path / "shared", COUNT, MEASURE), alone)


def test_an_interrupted_call_goes_on_with_the_same_statistics(monkeypatch, tmp_path, alone):
    read_so_far: list[int] = []

    def failing(indices: tuple[int, ...]) -> Batch:
        if len(read_so_far) >= limit:
            raise KeyboardInterrupt
        read_so_far.extend(indices)
        return read(indices)

    for limit in (3, 70, 71, 140):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", failing)
    as_process(monkeypatch, 0, 2)  # also with other processes than before
    limit = 1000
    run(tmp_path / "stopped", failing)
    as_process(monkeypatch, 1, 2)
    run(tmp_path / "stopped", failing)
    assert sorted(read_so_far) == list(range(COUNT))  # none twice
    assert_same(collect(tmp_path / "stopped", COUNT, MEASURE), alone)


def test_a_finished_set_needs_neither_videos_nor_the_network(tmp_path, alone):
    def refuse(*_: Any) -> Any:
        raise AssertionError

    accumulate(tmp_path / "alone", {}, COUNT, refuse, refuse, 2)


def test_other_settings_and_damaged_files_are_refused(tmp_path, alone):
    with pytest.raises(UserError, match="the statistics were begun with other settings"):
        run(tmp_path / "alone", metric="fvd")
    path = tmp_path / "alone" / "block_07.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="block_07.npz is damaged .*remove it to compute it again"):
        run(tmp_path / "alone")
    path.unlink()
    run(tmp_path / "alone")
    assert_same(collect(tmp_path / "alone", COUNT, MEASURE), alone)


def test_a_set_of_fewer_videos_than_blocks(monkeypatch, tmp_path):
    accumulate(tmp_path, {}, 5, read, lambda: MEASURE, 2)
    assert [part.count for part in collect(tmp_path, 5, MEASURE)] == [1] * 5


def test_the_result_waits_for_the_blocks_of_others(monkeypatch, tmp_path):
    as_process(monkeypatch, 0, 2)
    run(tmp_path)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        as_process(monkeypatch, 1, 2)
        run(tmp_path)

    monkeypatch.setattr(blocks.time, "sleep", sleep)
    assert merge_all(collect(tmp_path, COUNT, MEASURE)).count == COUNT
    assert len(waits) == 1
