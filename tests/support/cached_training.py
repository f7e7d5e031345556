"""The micro model as a directory, and short trainings of it, from pixels or a latent cache.

As a script, `cached_training.py DATASET MODEL_DIR OUT ADDRESS PROCESSES ID` is one of several
processes that create a cache.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from tests.support import micro_model
from tests.support.numbered_clips import numbered_record, write_dataset
from videogen_jax.data.config import DataConfig
from videogen_jax.data.latents.layout import CacheLayout
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.data.latents.shards import Encoders
from videogen_jax.data.loader import Batches, make_loader
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.latents.opening import cached_source, open_cache
from videogen_jax.training.optim import trainable
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.export import copy_tokenizer
from videogen_jax.training.step import StepOptions, init_state, make_step
from videogen_jax.training.task import TaskConfig
from videogen_jax.weights import config_file, model_dir

FRAMES, PIXELS, BATCH = 3, 16, 4
OPTIONS = CacheOptions(
    num_frames=FRAMES, epochs=3, seed=1, fps=8.0, clips_per_shard=3, batch_size=2
)
NAMES = ("text_encoder", "autoencoder", "image_unet", "stage_1", "stage_2", "flow", "refiner")


def write_model(directory: Path) -> Path:
    """Writes a model directory of the micro model."""
    for name in NAMES:
        model_dir.save_component(directory, name, micro_model.params()[name])
    config_file.save_config(directory / "config.json", micro_model.MICRO)
    copy_tokenizer(micro_model.TOKENIZER_DIR, directory)
    return directory


def run_of(task: TaskConfig, folder: Path, cache: Path | str = "", **data: Any) -> RunConfig:
    """Returns a run on the clips of a folder, with the same windows as a cache of `OPTIONS`."""
    shared = {"num_frames": FRAMES, "resolution": PIXELS, "fps": 8.0, "num_threads": 0}
    fields = {"dataset": str(folder / "clips"), "latent_cache": str(cache), **shared, **data}
    return RunConfig(micro_model.MICRO, task, 8, BATCH, seed=1, data=DataConfig(**fields))


def batches_of(config: RunConfig, cache: LatentCache | None) -> Batches:
    """Returns the batches of a run, from its cache or from pixels."""
    source = make_source(config, "train") if cache is None else cached_source(config, cache)
    tokenizer = micro_model.TOKENIZER if cache is None else None
    length = config.model.text_encoder.max_length
    return make_loader(source, config.batch_size, config.seed, tokenizer, length, num_threads=0)


def train(
    config: RunConfig, directory: Path, component: str, steps: int, trained: str = "conv_out/"
) -> tuple[np.ndarray, Any]:
    """Trains a component by steps of SGD; returns the losses and the final parameters.

    Only the last convolution is trained, of which `trained` is the beginning of the paths: the full
    gradient takes three times as long to compile.
    """
    cache = open_cache(config, directory)
    task = build_task(config, directory, micro_model.TOKENIZER, cache)
    batches = batches_of(config, cache)
    optimizer, losses = optax.sgd(0.05), []
    freeze = (f"(?!{trained}).*",)
    step = jax.jit(make_step(task, optimizer, 0.9, StepOptions(freeze=freeze)))
    params = micro_model.params()[component]
    state = init_state(optimizer, params)._replace(
        opt_state=optimizer.init(trainable(freeze, params))
    )
    for _ in range(steps):
        state, metrics = step(state, task.frozen, next(batches), jax.random.key(config.seed))
        losses.append(metrics["loss"])
    return np.array(losses), state.params


def write_clips(directory: Path) -> str:
    """Writes a dataset of 12 clips, of which 11 are for training."""
    records = [numbered_record(f"clip {i}", 20 + i) for i in range(12)]
    return str(write_dataset(directory, records))


def quick_encoders(
    model: Any, directory: Any, layout: CacheLayout, mesh: Any, batch: int
) -> Encoders:
    """Replaces the networks, which compile slowly: latents are the mean of a frame's pixels."""

    def latents(video_BFHW3: np.ndarray) -> dict[int, np.ndarray]:
        mean = video_BFHW3.mean(axis=(2, 3, 4)).reshape(batch, 1, -1, 1, 1, 1)
        shapes = {size: (batch, 2, *shape) for size, shape in layout.latents.items()}
        return {size: np.broadcast_to(mean, shape) for size, shape in shapes.items()}

    length, width = layout.text
    text = lambda tokens: (np.ones((batch, length, width)), np.ones((batch, width)))
    return Encoders(latents, lambda texts: micro_model.TOKENIZER(texts, length), text, batch)


def main(dataset: str, directory: str, out: str, address: str, count: str, number: str) -> None:
    connect(DistributedConfig(False, address, int(count), int(number)))
    make_cache(dataset, Path(directory), Path(out), OPTIONS)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_disable_most_optimizations", True)
    main(*sys.argv[1:])
