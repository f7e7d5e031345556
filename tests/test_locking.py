"""Locks between processes: refused while the owner lives, taken over after its death."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from videogen_jax.errors import UserError
from videogen_jax.locking import hold_lock

OWNER = """
import sys, time
from pathlib import Path
from videogen_jax.locking import hold_lock
with hold_lock(Path(sys.argv[1]), "the folder"):
    print("locked", flush=True)
    time.sleep(60)
"""


def start_owner(path: Path) -> subprocess.Popen:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None and owner.stdout.readline() == "locked\n"
    return owner


def test_a_second_process_is_refused_with_the_owner_until_that_is_killed(tmp_path: Path):
    path = tmp_path / "new" / "lock"
    owner = start_owner(path)
    try:
        where = f"the folder is in use by process {owner.pid} on {socket.gethostname()} since 2"
        with pytest.raises(UserError, match=where), hold_lock(path, "the folder"):
            pytest.fail("both processes have the lock")
        assert path.exists()  # the refused process leaves it to its owner
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    assert path.exists()  # killed, so not removed
    with hold_lock(path, "the folder"):
        assert f'"pid": {os.getpid()}' in path.read_text()
    assert not path.exists()


def test_one_process_does_not_take_its_own_lock_twice(tmp_path: Path):
    with hold_lock(tmp_path / "lock", "it"), pytest.raises(UserError, match=str(os.getpid())):
        with hold_lock(tmp_path / "lock", "it"):
            pass
    with hold_lock(tmp_path / "lock", "it"):
        pass


@pytest.mark.parametrize("left", ["", "{", "[1]", '{"pid": 1}', '{"pid": 9, "host": "elsewhere"}'])
def test_whatever_a_dead_process_left_is_taken_over(tmp_path: Path, left: str):
    (tmp_path / "lock").write_text(left)
    with hold_lock(tmp_path / "lock", "it"):
        (tmp_path / "lock").write_text(left)
        with pytest.raises(UserError, match="it is in use by another process: wait"):
            with hold_lock(tmp_path / "lock", "it"):
                pass


def test_a_file_that_its_owner_removed_after_it_was_opened_is_no_lock(tmp_path: Path, monkeypatch):
    path, flock = tmp_path / "lock", fcntl.flock

    def remove_first(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with hold_lock(path, "it"), pytest.raises(UserError, match="in use"), hold_lock(path, "it"):
        pass


def test_an_error_in_the_block_releases_the_lock(tmp_path: Path):
    with pytest.raises(RuntimeError), hold_lock(tmp_path / "lock", "it"):
        raise RuntimeError
    assert not (tmp_path / "lock").exists()


def test_a_file_system_without_locks_is_reported(tmp_path: Path, monkeypatch, caplog):
    def unsupported(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with hold_lock(tmp_path / "lock", "the folder F"):
        pass
    assert "has no locks (Function not implemented); make sure that no other" in caplog.text


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot lock the folder F: .*file"):
        with hold_lock(tmp_path / "file" / "lock", "the folder F"):
            pass
