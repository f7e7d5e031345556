"""Damaged and unreadable checkpoints: named, set aside, and the one before used."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import line_task
from videogen_jax.errors import UserError
from videogen_jax.training.checkpoints import files
from videogen_jax.training.checkpoints.files import find_checkpoint
from videogen_jax.training.step import TrainState

ONE = {"devices": jax.devices()[:1]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainState]:
    """A run of ten steps on one device, with checkpoints at steps 5 and 10."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return run_dir, line_task.train_line(run_dir, 10, **ONE)


@pytest.fixture
def copy(whole: tuple[Path, TrainState], tmp_path: Path) -> Path:
    return shutil.copytree(whole[0], tmp_path / "run")


def steps_in(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def assert_equal(state: TrainState, expected: TrainState) -> None:
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def largest(folder: Path) -> Path:
    files = (path for path in (folder / "state").rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip(folder: Path) -> Path:
    content = bytearray(largest(folder).read_bytes())
    content[len(content) // 2] ^= 1
    largest(folder).write_bytes(content)
    return largest(folder)


def truncate(folder: Path) -> Path:
    path = largest(folder)
    os.truncate(path, path.stat().st_size - 1)
    return path


def remove(folder: Path) -> Path:
    path = largest(folder)
    path.unlink()
    return path


def add(folder: Path) -> Path:
    (folder / "state" / "stray").touch()
    return folder / "state" / "stray"


def flip_manifest(folder: Path) -> Path:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"bytes"', '"bytez"', 1) + " ")
    return path


def remove_manifest(folder: Path) -> Path:
    (folder / "manifest.json").unlink()
    return folder / "manifest.json"


@pytest.mark.parametrize("damage", [flip, truncate, remove, add, flip_manifest, remove_manifest])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    whole, copy: Path, capsys, damage: Callable[[Path], Path]
):
    named = damage(copy / "checkpoints" / "10")
    with pytest.raises(ValueError, match="checkpoint of step 10 cannot be used"):
        find_checkpoint(copy, 10)
    assert find_checkpoint(copy).name == "5"
    assert_equal(line_task.train_line(copy, 10, **ONE), whole[1])
    output = capsys.readouterr().err
    assert "checkpoint of step 10 is not used, the one of step 5 is" in output
    assert str(named) in output
    assert steps_in(copy) == ["10", "10.damaged", "5"]
    assert find_checkpoint(copy).name == "10"


@pytest.fixture
def unreadable(monkeypatch):
    """Lets the disk fail to read some files. Permissions would not stop root, who may run this."""
    paths: list[Path] = []
    whole = Path.open

    def fails(path: Path, *arguments, **options):
        file = whole(path, *arguments, **options)
        if path in paths:
            file.close()
            raise OSError(errno.EIO, "Input/output error", str(path))
        return file

    monkeypatch.setattr(Path, "open", fails)
    return paths


@pytest.mark.parametrize("name", ["manifest.json", "largest"])
def test_a_checkpoint_that_cannot_be_read_is_named_and_the_one_before_used(
    whole, copy: Path, capsys, unreadable: list[Path], name: str
):
    newest = copy / "checkpoints" / "10"
    path = largest(newest) if name == "largest" else newest / name
    unreadable.append(path)
    with pytest.raises(ValueError, match="step 10 cannot be used: .* cannot be read: Input/output"):
        find_checkpoint(copy, 10)
    assert find_checkpoint(copy).name == "5"
    assert_equal(line_task.train_line(copy, 10, **ONE), whole[1])
    message = f"{path} cannot be read: Input/output error; it is now 10.damaged"
    assert message in capsys.readouterr().err


def test_a_read_that_fails_names_its_file(copy: Path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(ValueError, match=r"checkpoints/10/\S+ cannot be read: Input/output error"):
        find_checkpoint(copy, 10)


@pytest.mark.parametrize("fault", ["rename", "mkdir", "iterdir"])
def test_process_0_raises_after_the_others_know(copy: Path, monkeypatch, fault: str):
    """Otherwise they would wait for it."""
    sent: list[int] = []

    def fail(path: Path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def broadcast(value):
        sent.append(int(value))
        return value

    flip(copy / "checkpoints" / "10")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(files.multihost_utils, "broadcast_one_to_all", broadcast)
    with monkeypatch.context() as patch:
        patch.setattr(Path, fault, fail)
        with pytest.raises(UserError, match="checkpoints cannot be used: .*: Permission denied"):
            files.agree_on_newest(copy / "checkpoints")
    assert files.agree_on_newest(copy / "checkpoints") == 5
    assert sent == [files._NOT_INTACT, 5]


def test_without_an_intact_checkpoint_nothing_is_begun_anew(copy: Path):
    named = [
        str(damage(copy / "checkpoints" / step)) for damage, step in [(flip, "5"), (add, "10")]
    ]
    with pytest.raises(ValueError, match="none of the checkpoints is intact") as error:
        line_task.train_line(copy, 10, **ONE)
    assert all(name in str(error.value) for name in named)
    assert steps_in(copy) == ["10", "5"]
