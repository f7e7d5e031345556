"""A short training that gives the same results on any number of devices and processes.

As a script, `parallel_training.py OUT DATA FSDP FRAMES ADDRESS PROCESSES ID` is one of several
processes. JAX_NUM_CPU_DEVICES sets the number of CPU devices of each.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from tests.support import micro_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax import sharding, trees
from videogen_jax.data.loader import make_loader
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.config import LoopConfig
from videogen_jax.training.loop import train
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.task import Task
from videogen_jax.training.tasks.cascade import CascadeTaskConfig

STEPS, BATCH, FRAMES = 20, 8, 4


class Latents:
    """Random latents of a stage and the stage below, in the format of a latent cache."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        length = MICRO.text_encoder.max_length
        return {
            "latents_16": rng.standard_normal((FRAMES, 8, 8, 4), np.float32),
            "latents_std_16": rng.random((FRAMES, 8, 8, 4), np.float32),
            "latents_8": rng.standard_normal((FRAMES, 4, 4, 4), np.float32),
            "latents_std_8": rng.random((FRAMES, 4, 4, 4), np.float32),
            "tokens": rng.integers(0, 500, length, np.int32),
            "fps": np.float32(8),
        }


def start() -> Any:
    """Returns the parameters from which the training starts."""
    return micro_model.params(MICRO, "stage_2")["stage_2"]


def task() -> Task:
    frozen = micro_model.params(MICRO, "text_encoder")
    config = CascadeTaskConfig(stage=2, low_res_noise=100)
    return config.build(task_context(MICRO, frozen, warm_start=start()))


def train_on(mesh_config: MeshConfig, out: Path, devices: Any = None) -> None:
    """Trains for `STEPS` steps; writes `metrics.jsonl` and the parameters by path in `params.npz`.

    It uses SGD, because Adam turns gradients that consist only of rounding errors into full steps.
    """
    mesh = sharding.make_mesh(mesh_config, devices)
    data = make_loader(Latents(), BATCH, seed=0, positions=sharding.batch_positions(mesh, BATCH))
    loop = LoopConfig(log_every=1, sample_every=0, checkpoint_every=STEPS)
    state = train(
        task(), optax.sgd(0.05), data, mesh, loop, out, steps=STEPS, seed=0, mesh_config=mesh_config
    )
    params = {path: sharding.to_host(leaf) for path, leaf in trees.flatten(state.params).items()}
    if jax.process_index() == 0:
        np.savez(out / "params.npz", **params)


def losses(out: Path, name: str = "loss") -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def params(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "params.npz") as file:
        return dict(file)


def main(out: str, data: str, fsdp: str, frames: str, address: str, count: str, number: str):
    connect(DistributedConfig(False, address, int(count), int(number)))
    mesh_config = MeshConfig(int(data), int(fsdp), int(frames), min_sharded_bytes=1)
    train_on(mesh_config, Path(out))


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_disable_most_optimizations", True)
    main(*sys.argv[1:])
