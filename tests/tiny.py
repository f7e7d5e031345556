"""The tiny model's frozen networks, batches of shapes and a short training, for tests of the tasks."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from videogen_jax.data.loader import Source
from videogen_jax.data.tokenizer import load_tokenizer
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.presets import TINY
from videogen_jax.training.step import init_state, make_step
from videogen_jax.training.task import Task

TOKENIZER = load_tokenizer(
    Path(__file__).parent.parent / "videogen_jax" / "assets" / "shapes" / "tokenizer"
)
NULL_TOKENS_T = TOKENIZER([""], TINY.text_encoder.max_length)[0]


@functools.cache
def frozen() -> dict[str, Any]:
    """Untrained text encoder, autoencoder and flow: any function will do to learn around."""
    tokens, frame = NULL_TOKENS_T[None], jnp.zeros((1, 8, 8, TINY.flow.in_channels))
    keys = jax.random.split(jax.random.key(100), 3)
    inits = {
        "text_encoder": (TextEncoder(TINY.text_encoder), tokens),
        "autoencoder": (Autoencoder(TINY.autoencoder), jnp.zeros((1, 8, 8, 3))),
        "flow": (LatentFlow(TINY.flow), frame, frame, jnp.zeros(1)),
    }
    return {
        name: jax.jit(network.init)(key, *inputs)["params"]
        for key, (name, (network, *inputs)) in zip(keys, inits.items(), strict=True)
    }


def batch_of(source: Source, size: int) -> dict[str, np.ndarray]:
    """The first examples of a source as the loader gives them."""
    examples = [source[i] for i in range(size)]
    captions = [example.pop("caption") for example in examples]
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    return batch | {"tokens": TOKENIZER(captions, TINY.text_encoder.max_length)}


def overfit(
    task: Task, batch: dict[str, np.ndarray], steps: int, learning_rate: float
) -> tuple[Any, list[dict[str, float]]]:
    """Trains on one batch by the loop's own step; gives the parameters and every step's metrics."""
    optimizer = optax.adam(learning_rate)
    params = task.warm_start(jax.jit(task.init)(jax.random.key(0)))
    state = jax.jit(lambda params: init_state(optimizer, params))(params)
    step = jax.jit(make_step(task, optimizer, ema_decay=0.99))
    metrics = []
    for _ in range(steps):
        state, values = step(state, task.frozen, batch, jax.random.key(1))
        metrics.append(values)
    return state.params, [
        {name: float(value) for name, value in values.items()} for values in jax.device_get(metrics)
    ]


def mean(metrics: list[dict[str, float]], name: str = "loss") -> float:
    return float(np.mean([values[name] for values in metrics]))
