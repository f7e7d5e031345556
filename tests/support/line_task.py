"""The smallest task for the production training loop: a matrix that learns to double its input.

As a script, `line_task.py RUN_DIR STEPS CHECKPOINT_EVERY WIDTH SECONDS` trains it; each example
takes SECONDS to read. With `ADDRESS COUNT ID` appended, it is one of several processes, which share
the matrix. The environment variables STEPS_DURING_SAVE, VALIDATE_EVERY and HEARTBEAT (in seconds)
set these options.
"""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from videogen_jax import sharding
from videogen_jax.cli import showing_log
from videogen_jax.data.loader import make_loader, read_once
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.config import LoopConfig
from videogen_jax.training.loop import train
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.training.runs.validation import HeldOut
from videogen_jax.training.step import TrainState
from videogen_jax.training.task import Task
from videogen_jax.training.validation import Validation

BATCH = 24  # divisible by 3 processes and 8 devices
HELD_OUT = 29  # examples of validation, in two batches
LOOP = LoopConfig(log_every=1, sample_every=0, checkpoint_every=5, keep_checkpoints=3, keep_best=0)


class Points:
    """A source of random vectors, each with its index."""

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def __len__(self) -> int:
        return 37

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(self._seconds)
        rng = np.random.default_rng(index)
        return {"x": rng.standard_normal(16, np.float32), "index": np.int32(index)}


class LineTask(Task):
    """Learns to double vectors. The metric `order` depends on the order of a batch's examples."""

    def __init__(self, width: int = 16):
        self.frozen: Any = {}
        self._width = width

    def init(self, key: jax.Array) -> Any:
        return {"kernel": jax.random.normal(key, (16, self._width)) / 4}

    def warm_start(self, params: Any) -> Any:
        return params

    def loss(self, params: Any, frozen: Any, batch: Any, key: jax.Array) -> Any:
        error = batch["x"] @ params["kernel"] - 2 * jnp.tile(batch["x"], self._width // 16)
        places = jnp.arange(1, batch["index"].shape[0] + 1)
        order = (places * batch["index"]).sum().astype(jnp.float32)
        return jnp.square(error).mean(), {"order": order}

    def samples(self, params: Any, seed: int) -> None:
        return None


class StoppingAfter:
    """The run's batches; sends signals to this process when reading the last of `batches`."""

    def __init__(self, batches: int, *signals: signal.Signals):
        self._inner, self._left, self._signals = make_loader(Points(), BATCH, 3), batches, signals
        self.get_state, self.set_state = self._inner.get_state, self._inner.set_state

    def __iter__(self):
        return self

    def __next__(self):
        self._left -= 1
        if self._left == 0:
            for number in self._signals:
                os.kill(os.getpid(), number)
        return next(self._inner)


def train_line(
    run_dir: Path,
    steps: int = 10,
    loop: LoopConfig = LOOP,
    *,
    mesh_config: MeshConfig = MeshConfig(),
    devices: Any = None,
    optimizer: Any = None,
    width: int = 16,
    seconds: float = 0.0,
    data: Any = None,
    **options: Any,
) -> TrainState:
    mesh = sharding.make_mesh(mesh_config, devices)
    positions = list(sharding.batch_positions(mesh, BATCH))
    data = data or make_loader(Points(seconds), BATCH, seed=3, positions=positions)
    task, held_out = LineTask(width), HeldOut(Points(), HELD_OUT, 2 * BATCH, seed=0)
    read = lambda: read_once(held_out, BATCH, positions=positions)
    return train(
        task, optimizer or optax.adamw(1e-2), data, mesh, loop, run_dir,
        steps=steps, seed=0, mesh_config=mesh_config,
        validation=Validation(task, read, mesh, 1, 0), **options,
    )  # fmt: skip


def main(run_dir: str, steps: str, every: str, width: str, seconds: str, *process: str) -> None:
    jax.config.update("jax_platforms", "cpu")
    if process:
        address, count, number = process
        heartbeat = int(os.environ.get("HEARTBEAT", "10"))
        connect(DistributedConfig(False, address, int(count), int(number), heartbeat))
    during = os.environ.get("STEPS_DURING_SAVE")
    loop = dataclasses.replace(
        LOOP,
        checkpoint_every=int(every),
        steps_during_save=int(during) if during else None,
        validate_every=int(os.environ.get("VALIDATE_EVERY", "0")),
    )
    mesh_config = MeshConfig(data=1, fsdp=-1, min_sharded_bytes=1) if process else MeshConfig()
    options: Any = {"mesh_config": mesh_config, "width": int(width), "seconds": float(seconds)}
    with showing_log(), ending_at_once():
        train_line(Path(run_dir), int(steps), loop, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
