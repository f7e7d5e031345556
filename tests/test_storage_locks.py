"""Locks in buckets: refused while the owner gives signs of life, taken over when it does not."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from tests.support.storage import memory_url, s3_server
from videogen_jax import storage_locks
from videogen_jax.errors import UserError
from videogen_jax.locking import hold_lock
from videogen_jax.paths import as_path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage_locks, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(storage_locks, "DEAD_SECONDS", 0.5)


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])  # a server starts
def lock(request):
    if request.param == "memory":
        yield as_path(memory_url()) / "lock"
        return
    with s3_server() as url:
        yield as_path(url) / "run" / "lock"


def test_a_second_owner_is_refused_while_the_first_lives(lock):
    where = f"the run is in use by process {os.getpid()} on {socket.gethostname()} since 2"
    with hold_lock(lock, "the run"):
        with pytest.raises(UserError, match=where), hold_lock(lock, "the run"):
            pytest.fail("both have the lock")
        assert lock.exists()
    assert not lock.exists()
    with hold_lock(lock, "the run"):
        pass


@pytest.mark.parametrize("left", ["", "[1]", '{"pid": 9, "host": "elsewhere", "since": "2026"}'])
def test_a_lock_without_signs_of_life_is_taken_over(left):
    lock = as_path(memory_url()) / "lock"
    lock.write_text(left)
    with hold_lock(lock, "the run"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_the_lock_of_an_ended_process_of_this_machine_is_taken_over_at_once(monkeypatch):
    monkeypatch.setattr(storage_locks, "DEAD_SECONDS", 1e6)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = as_path(memory_url()) / "lock"
    lock.write_text(json.dumps({"pid": ended.pid, "host": socket.gethostname(), "since": "2026"}))
    with hold_lock(lock, "the run"):
        pass


def test_who_was_taken_over_leaves_the_lock_to_the_new_owner(caplog):
    lock = as_path(memory_url()) / "lock"
    with hold_lock(lock, "the run"):
        lock.write_text('{"token": "another"}')
        for thread in threading.enumerate():
            if thread.name.endswith("(_renew)"):
                thread.join(5)
    assert json.loads(lock.read_text()) == {"token": "another"}


def test_storage_that_cannot_be_written_is_one_clear_line(monkeypatch):
    def write(path, owner, mode):
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(storage_locks, "_write", write)
    message = "cannot lock the run: memory://.*/lock: The specified bucket does not exist"
    with (
        pytest.raises(UserError, match=message),
        hold_lock(as_path(memory_url()) / "lock", "the run"),
    ):
        pytest.fail("not locked")


def test_storage_that_cannot_exclude_others_is_a_warning(monkeypatch, capfd):
    def write(path, owner, mode):
        raise NotImplementedError("create mode not supported")

    monkeypatch.setattr(storage_locks, "_write", write)
    with hold_lock(as_path(memory_url()) / "lock", "the run"):
        pass
    assert "this storage has no locks (create mode not supported)" in capfd.readouterr().err
