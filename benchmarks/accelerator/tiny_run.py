"""A run of `tiny`'s stage 1 on shapes.

    python -m benchmarks.accelerator.tiny_run RUN_DIR STEPS [dry]

Frozen networks are random and examples come in order, so it needs no model directory and no Grain.
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from benchmarks.accelerator.dry_model import dry_model
from benchmarks.accelerator.measure import random_like
from videogen_jax import sharding
from videogen_jax.configs import RUNS
from videogen_jax.data.loader import Batches
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.loop import train
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.runs.build import abstract_task
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.train import step_options

CHECKPOINT_EVERY = 10
_DRY_CHECKPOINT_EVERY = 2


def examples(config: Any) -> Batches:
    """Returns batches of captioned clips of the shapes, in order."""
    source = make_source(config, "train", examples=1000)
    tokenizer = load_tokenizer(find_model("shapes") / "tokenizer")
    length = config.model.text_encoder.max_length

    def read_from(first: int) -> Iterator[dict[str, np.ndarray]]:
        while True:
            clips = [source[(first + i) % len(source)] for i in range(config.batch_size)]
            tokens = tokenizer([clip.pop("caption") for clip in clips], length)
            arrays = {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}
            yield {**arrays, "tokens": tokens}
            first += config.batch_size

    return Batches(read_from, config.batch_size)


class Begun:
    """A task with random frozen networks and random initial parameters from numpy."""

    def __init__(self, task: Any):
        self.loss, self.components = task.loss, task.components
        self._shapes = jax.eval_shape(task.init, jax.random.key(0))
        self.frozen = random_like(task.frozen)

    def init(self, key: jax.Array) -> Any:
        """Returns zeros: compiling a generator for every tensor takes longer than the run."""
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self._shapes)

    def warm_start(self, params: Any) -> Any:
        return random_like(self._shapes)

    def samples(self, params: Any, seed: int) -> None:
        return None


def main(run_dir: Path, steps: int, dry_run: bool) -> None:
    """Trains or resumes the run and writes the final parameters to `params.npy`."""
    config = dataclasses.replace(RUNS["tiny-stage-1"], steps=steps)
    if dry_run:
        config = dataclasses.replace(config, model=dry_model(), optim=OptimConfig("sgd"))
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    loop = LoopConfig(
        log_every=1,
        sample_every=0,
        checkpoint_every=_DRY_CHECKPOINT_EVERY if dry_run else CHECKPOINT_EVERY,
        steps_during_save=0,  # a checkpoint is complete before the next step
    )
    state = train(
        Begun(abstract_task(config)),
        make_optimizer(config.optim, steps),
        examples(config),
        mesh,
        loop,
        run_dir,
        steps=steps,
        seed=config.seed,
        options=step_options(config),
    )
    np.save(run_dir / "params.npy", np.asarray(ravel_pytree(state.params)[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), dry_run="dry" in sys.argv[3:])
