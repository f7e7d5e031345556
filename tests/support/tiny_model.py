"""The tiny model for tests of networks and tasks: parameters, batches, recordings, trainings.

To reduce the time for compilation, parameters come from numpy, keys use the "rbg" generator, and
the optimizer treats all parameters as one vector.
"""

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from tests.support.micro_model import TOKENIZER
from videogen_jax.configs.tiny import TINY
from videogen_jax.data.loader import Source
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.frozen import encode_text
from videogen_jax.training.step import as_scalar
from videogen_jax.training.task import Task

NULL_TOKENS_T = TOKENIZER([""], TINY.text_encoder.max_length)[0]
NOISY = 7.0  # the noisy latents, when the inputs of a task's network are recorded


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed, impl="rbg")


def keys(key: jax.Array, batch: dict[str, np.ndarray]) -> jax.Array:
    """Returns a key for every sample of a batch."""
    return jax.random.split(key, len(next(iter(batch.values()))))


def compiled_init(init: Callable[[jax.Array], Any]) -> Any:
    """Returns the parameters of `init`, compiled fast with little optimization."""
    return jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})(key())


def random_params(init: Callable[[jax.Array], Any], seed: int = 0) -> Any:
    """Returns parameters of the shapes of `init`, of which only biases are zero."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        match path[-1].key:
            case "bias":
                return np.zeros(shape.shape, np.float32)
            case "scale":
                return np.ones(shape.shape, np.float32)
            case "negative_slope":
                return np.full(shape.shape, 0.25, np.float32)
        fan_in = math.prod(shape.shape[:-1])
        return rng.standard_normal(shape.shape, np.float32) / math.sqrt(fan_in)

    return jax.tree.map_with_path(draw, jax.eval_shape(init, key()))


@functools.cache
def frozen() -> dict[str, Any]:
    """Returns an untrained text encoder, autoencoder and flow, which suffice for these tests."""
    frame = jnp.zeros((1, 8, 8, TINY.flow.in_channels))
    networks = {
        "text_encoder": (TextEncoder(TINY.text_encoder), NULL_TOKENS_T[None]),
        "autoencoder": (Autoencoder(TINY.autoencoder), jnp.zeros((1, 8, 8, 3))),
        "flow": (LatentFlow(TINY.flow), frame, frame, jnp.zeros(1)),
    }
    return {
        name: random_params(lambda key: network.init(key, *inputs)["params"], seed)
        for seed, (name, (network, *inputs)) in enumerate(networks.items())
    }


def batch_of(source: Source, size: int) -> dict[str, np.ndarray]:
    """Returns the first examples of a source as a batch of the loader."""
    examples = [source[i] for i in range(size)]
    captions = [example.pop("caption") for example in examples]
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    return batch | {"tokens": TOKENIZER(captions, TINY.text_encoder.max_length)}


@jax.jit(static_argnums=1)
def encode(video_BFHWC: jax.Array, resolution: int) -> jax.Array:
    """Encodes a clip in [-1, 1] to scaled latents by the frozen autoencoder."""
    return encode_frames(TINY, frozen(), video_BFHWC, resolution)


text_of = jax.jit(lambda tokens_BT: encode_text(TINY, frozen(), tokens_BT))


def recorded(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    make_task: Callable[[], Task],
    batch: dict[str, np.ndarray],
) -> dict[str, jax.Array]:
    """Records the inputs of a diffusion task of `module`: `x0` of the loss, others of the network.

    All noisy latents are `NOISY`; the timesteps are 0, 1, 2, …
    """
    seen: dict[str, Any] = {}

    class Network:
        def apply(
            self, variables: Any, x: Any, timesteps: Any, text: Any, **conditions: Any
        ) -> Any:
            seen.update(x=x, timesteps=timesteps, text=text, **conditions)

    def loss(schedule: Any, predict: Any, x0: jax.Array, *_: Any) -> Any:
        seen["x0"] = x0
        predict(jnp.full_like(x0, NOISY), jnp.arange(x0.shape[0]))
        return jnp.zeros(()), {}

    monkeypatch.setattr(module, "SpaceTimeUNet", lambda *_: Network())
    monkeypatch.setattr(module, "denoising_loss", loss)
    task = make_task()

    def run(frozen: Any, batch: Any, key: jax.Array) -> dict[str, jax.Array]:
        task.loss({}, frozen, batch, keys(key, batch))
        return {name: value for name, value in seen.items() if value is not None}

    return jax.jit(run)(task.frozen, batch, key(2))


def overfit(
    task: Task, params: Any, batch: dict[str, np.ndarray], steps: int, learning_rate: float
) -> tuple[Any, list[dict[str, float]]]:
    """Trains on one batch with Adam; returns the parameters and the metrics of every step."""
    vector, unravel = ravel_pytree(params)
    optimizer = optax.adam(learning_rate)

    @jax.jit
    def step(vector: Any, state: Any, frozen: Any, batch: Any, key: Any) -> Any:
        def loss(vector: jax.Array) -> Any:
            return task.loss(unravel(vector), frozen, batch, keys(key, batch))

        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(vector)
        update, state = optimizer.update(gradient, state)
        scalars = {name: as_scalar(metric) for name, metric in metrics.items()}
        return vector + update, state, {"loss": value, **scalars}

    state, metrics = optimizer.init(vector), []
    for index in range(steps):
        vector, state, values = step(vector, state, task.frozen, batch, key(index))
        metrics.append(values)
    return unravel(vector), [
        {name: float(value) for name, value in values.items()} for values in jax.device_get(metrics)
    ]


def mean(metrics: list[dict[str, float]], name: str = "loss") -> float:
    """Returns the mean over steps with a value: a quarter of the timesteps may have no sample."""
    return float(np.nanmean([values[name] for values in metrics]))
