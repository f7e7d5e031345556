"""Tests runs under kills, damage, full disks and lost peers: `python -m tests.support.faults`.

It runs `line_task.py` in other processes and prints a table. The defaults, `--kill 20` and
`--damage 100`, take some minutes on two cores. Each row of the table is checked: the script fails
if a statement of docs/training.md is wrong. The test of a full disk mounts a small tmpfs; without
the permission to mount it is left out.
"""

import contextlib
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import tyro

from tests.support import line_task
from tests.support.faulty_runs import (
    EVERY,
    complete,
    ends_of,
    free_address,
    log_of,
    start,
    steps_done,
    wait_until,
)
from videogen_jax.training.checkpoints.files import agree_on_newest
from videogen_jax.training.checkpoints.manifest import NAME
from videogen_jax.training.processes.distributed import DistributedConfig
from videogen_jax.training.processes.peers import LOST_PEER

CAUSE = (
    r"task /?\S* ?heartbeat timeout|failed to send RPC to coordination service[^.]*|.*deadline.*"
)


def kills(folder: Path, number: int, rng: random.Random, during_save: int | None) -> str:
    run_dir, lost, in_save = folder / "run", [], 0
    os.environ["STEPS_DURING_SAVE"] = "" if during_save is None else str(during_save)
    expected = 0
    for i in range(number + 1):
        process = start(run_dir)
        wait_until(lambda: "resuming" in log_of(run_dir) or i == 0, process)
        resumed = re.search(r"resuming from the checkpoint of step (\d+)", log_of(run_dir))
        assert (int(resumed[1]) if resumed else 0) == expected, (resumed, expected)
        if i < number:
            before = steps_done(run_dir)
            wait_until(lambda: steps_done(run_dir) != before, process)
            time.sleep(rng.uniform(0, 2))
        process.kill()
        process.wait()
        if i == number:
            break
        expected = complete(run_dir)
        in_save += any((run_dir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
        lost.append(steps_done(run_dir) - expected)
    os.environ["STEPS_DURING_SAVE"] = ""
    assert during_save is None or max(lost) <= EVERY + during_save, lost
    return (
        f"{number} × kill -9, {in_save} of them in a save, steps_during_save {during_save}: each "
        f"time resumed from the last complete checkpoint; steps lost, with an interval of {EVERY}: "
        f"{sorted(lost)}"
    )


def damages(folder: Path, number: int, rng: random.Random) -> str:
    run_dir = folder / "run"
    line_task.train_line(run_dir, 2 * EVERY)
    kept, found = folder / "kept", Counter()
    shutil.copytree(run_dir / "checkpoints", kept)
    for _ in range(number):
        shutil.rmtree(run_dir / "checkpoints")
        shutil.copytree(kept, run_dir / "checkpoints")
        newest = run_dir / "checkpoints" / str(2 * EVERY)
        top = ("_CHECKPOINT_METADATA", "commit_success.txt")  # not read when restoring
        files = [
            p
            for p in newest.rglob("*")
            if p.is_file() and not (p.parent == newest and p.name in top)
        ]
        path, kind = rng.choice(files), rng.choice(["flipped", "truncated", "removed"])
        content = bytearray(path.read_bytes())
        if kind == "removed" or not content:
            kind = "removed"
            path.unlink()
        elif kind == "truncated":
            os.truncate(path, rng.randrange(len(content)))
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            used = agree_on_newest(run_dir / "checkpoints")
        # A damaged manifest may look like damage of a file that it describes.
        named = str(path) in output.getvalue() or path.name == NAME
        assert used == EVERY and named, (path, kind, used, output.getvalue())
        found[kind] += 1
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    return (
        f"{number} damages of the newest checkpoint ({counts}): all found and named, the one "
        "before used"
    )


def full_disk_of_one(folder: Path, victim: int) -> str:
    """One of two processes can no longer write large files, as if its own disk were full."""
    run_dir, address = folder / "run", free_address()
    processes = [start(run_dir, address, 2, i) for i in range(2)]
    try:
        wait_until(lambda: complete(run_dir) >= EVERY, processes[victim], 240)
        # Log and metrics stay below the limit; the process's share of the state does not.
        resource.prlimit(processes[victim].pid, resource.RLIMIT_FSIZE, (2**18, 2**18))
        ends = ends_of(processes, [victim, 1 - victim])
        there, last = complete(run_dir), agree_on_newest(run_dir / "checkpoints")
    finally:
        for process in processes:
            process.kill()
    message = re.findall(
        r"error: (process .* could not be written here .*)", log_of(run_dir, victim)
    )
    assert processes[victim].returncode == 1 and message and last == there, log_of(run_dir, victim)
    process = start(run_dir, steps=there + EVERY)
    assert process.wait(120) == 0 and complete(run_dir) >= there + EVERY, log_of(run_dir)
    return (
        f"process {victim} of 2 cannot write its part: “{message[0][:140]}…”; they end after "
        f"{', '.join(ends)}; the checkpoint of step {there} is intact and continued from"
    )


def hung_peer(folder: Path, victim: int) -> str:
    run_dir, address, survivors = (
        folder / "run",
        free_address(),
        [i for i in range(3) if i != victim],
    )
    os.environ["HEARTBEAT"] = str(DistributedConfig().heartbeat_timeout_seconds)
    processes = [start(run_dir, address, 3, i, width=48) for i in range(3)]
    try:
        wait_until(lambda: complete(run_dir) > 0, processes[victim], 240)
        processes[victim].send_signal(signal.SIGSTOP)
        ends = ends_of(processes, survivors)
    finally:
        os.environ.pop("HEARTBEAT")
        for process in processes:
            process.kill()
    logs = [log_of(run_dir, i) for i in survivors]
    causes = [re.search(CAUSE, log, re.IGNORECASE) for log in logs]
    message = causes[0] and causes[0][0]
    assert all(causes), logs
    return (
        f"process {victim} of 3 hangs (SIGSTOP): with the default of 50 s the others ended after "
        f"{', '.join(ends)}: “{message}”"
    )


def full_disk(folder: Path) -> str:
    run_dir = folder / "run"
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(checkpoints)]
    if subprocess.run(mount, capture_output=True).returncode:
        return "disk full during a save: not run, mounting a tmpfs needs root"
    process = start(run_dir)
    try:
        wait_until(lambda: complete(run_dir) >= EVERY, process)
        filler = checkpoints / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(2**18)):
                pass
        wait_until(lambda: "could not be written" in log_of(run_dir), process)
        message = re.findall(r"checkpoint of step .*could not.*", log_of(run_dir))[0]
        before = agree_on_newest(checkpoints)
        filler.unlink()
        wait_until(lambda: complete(run_dir) > (before or 0), process)
        process.terminate()
        assert process.wait(60) == 0 and before, log_of(run_dir)
        return (
            f"disk full during a save: “{message[:140]}…”; the run continues, the checkpoint of "
            f"step {before} is intact, and with free space the run saves again"
        )
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", "-l", str(checkpoints)], check=True)


def terminated(folder: Path) -> str:
    run_dir = folder / "run"
    process = start(run_dir)
    wait_until(lambda: steps_done(run_dir) > 2, process)
    process.terminate()
    began = time.monotonic()
    status = process.wait(60)
    seconds, step = time.monotonic() - began, complete(run_dir)
    assert status == 0 and step >= steps_done(run_dir) > 0, (status, step, log_of(run_dir))
    return (
        f"SIGTERM: status {status} after {seconds:.1f} s, checkpoint of step {step}, no step lost"
    )


def stopped_together(folder: Path, number: signal.Signals, expected: int) -> str:
    """Sends a signal to one of two processes; one process then resumes from their checkpoint."""
    run_dir = folder / "run"
    address = free_address()
    processes = [start(run_dir, address, 2, i) for i in range(2)]
    try:
        wait_until(lambda: steps_done(run_dir) > 2, processes[0])
        processes[1].send_signal(number)
        statuses = [process.wait(60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    step = complete(run_dir)
    assert statuses == [0, expected] and step == steps_done(run_dir), (
        statuses,
        step,
        log_of(run_dir, 0),
    )
    process = start(run_dir, steps=step + 1)
    assert process.wait(120) == 0 and complete(run_dir) == step + 1, log_of(run_dir)
    return (
        f"{number.name} to 1 of 2 processes: both end at step {step} (status 0, {expected}); one "
        "process continues there"
    )


def lost_peer(folder: Path, victim: int) -> str:
    run_dir, address, survivors = (
        folder / "run",
        free_address(),
        [i for i in range(3) if i != victim],
    )
    processes = [start(run_dir, address, 3, i, width=48) for i in range(3)]
    try:
        wait_until(lambda: complete(run_dir) > 0, processes[victim], 240)
        processes[victim].kill()
        ends = ends_of(processes, survivors)
    finally:
        for process in processes:
            process.kill()
    statuses = [processes[i].returncode for i in survivors]
    if victim:
        assert LOST_PEER in statuses and "another one is lost" in log_of(run_dir, survivors[0])
    return f"process {victim} of 3 killed: the others ended after {', '.join(ends)}"


def main(kill: int = 20, damage: int = 100, seed: int = 0) -> None:
    """Runs all tests and prints the table.

    Args:
        kill: number of times to kill a run.
        damage: number of times to damage a checkpoint.
        seed: seed of the times of kills and of the damage.
    """
    rng, begun = random.Random(seed), time.monotonic()
    parts = [
        lambda folder: kills(folder, kill, rng, None),
        lambda folder: kills(folder, kill, rng, 0),
        lambda folder: damages(folder, damage, rng),
        full_disk,
        lambda folder: full_disk_of_one(folder, 1),
        lambda folder: full_disk_of_one(folder, 0),
        terminated,
        lambda folder: stopped_together(folder, signal.SIGTERM, 0),
        lambda folder: stopped_together(folder, signal.SIGINT, 130),
        lambda folder: lost_peer(folder, 2),
        lambda folder: lost_peer(folder, 0),
        lambda folder: hung_peer(folder, 2),
        lambda folder: hung_peer(folder, 0),
    ]
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            print("-", part(Path(folder)), flush=True)
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    tyro.cli(main)
