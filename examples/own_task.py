"""A task of one's own on data in memory, with the library's training loop.

    python examples/own_task.py --steps 100

A small network learns to predict the next frame of a moving dot. The loop gives it what every run
has: checkpoints and exact resuming, an average of the weights, metrics.jsonl and TensorBoard,
several devices. To train with presets and `videogen train` instead, write a `TaskConfig` too, as
the files in `videogen_jax/training/tasks/` do.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen as nn

from videogen_jax.cli import showing_log
from videogen_jax.data.loader import make_loader
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.config import LoopConfig
from videogen_jax.training.loop import train
from videogen_jax.training.task import Task

SIDE, FRAMES = 16, 4


class Clips:
    """The data: `__len__`, and `__getitem__` that returns a dict of arrays. Any array will do."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(index)
        start, speed = rng.integers(0, SIDE, 2), rng.integers(-1, 2, 2)
        video_FHWC = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
        for frame, picture in enumerate(video_FHWC):
            picture[tuple((start + frame * speed) % SIDE)] = 255
        return {"video": video_FHWC}


class NextFrame(nn.Module):
    """Two frames → the next one, all in [0, 1]."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        x_BHWC = nn.relu(nn.Conv(16, (5, 5), name="conv_in")(x_BHWC))
        return nn.Conv(3, (3, 3), name="conv_out")(x_BHWC)


class NextFrameTask(Task):
    """The task: parameters, a loss of a batch, and what of it is stored."""

    frozen: Any = {}  # arrays that the loss needs and that do not train

    def init(self, key: jax.Array) -> Any:
        return NextFrame().init(key, jnp.zeros((1, SIDE, SIDE, 6)))["params"]

    def loss(self, params: Any, frozen: Any, batch: Any, keys_B: jax.Array) -> Any:
        video = batch["video"].astype(jnp.float32) / 255
        before = jnp.concatenate([video[:, -3], video[:, -2]], axis=-1)
        predicted: Any = NextFrame().apply({"params": params}, before)
        return jnp.square(predicted - video[:, -1]).mean(), {}

    def components(self, params: Any) -> dict[str, Any]:
        return {"next_frame": params}


def main(run_dir: Path = Path("runs/next-frame"), steps: int = 100, batch_size: int = 16) -> None:
    """Trains the task; the same line with more steps goes on.

    Args:
        run_dir: folder of the run.
        steps: steps in total.
        batch_size: clips per step, divisible by the number of devices.
    """
    loop = LoopConfig(ema_decay=0.99, log_every=10, sample_every=0, checkpoint_every=50)
    with showing_log():
        train(
            NextFrameTask(),
            optax.adam(1e-2),
            make_loader(Clips(), batch_size, seed=0),
            make_mesh(MeshConfig()),
            loop,
            run_dir,
            steps=steps,
            seed=0,
        )
    print(f"{run_dir} has metrics.jsonl, tensorboard/ and checkpoints/")


if __name__ == "__main__":
    tyro.cli(main)
