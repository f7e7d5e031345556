"""Tests of networks and of tasks: parameters, batches, recordings and trainings of small models.

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

from tests.support.micro_model import MICRO, TOKENIZER
from videogen_jax.configs.tiny import TINY
from videogen_jax.data.loader import Source
from videogen_jax.models.components import component_shapes
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
    return _draw(jax.eval_shape(init, key()), seed)


def random_component(name: str, seed: int = 0) -> Any:
    """Returns what `random_params` does for a component of `MICRO`, which it traces only once."""
    return _draw(component_shapes(MICRO, name)[name], seed)


def _draw(shapes: Any, seed: int) -> Any:
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

    return jax.tree.map_with_path(draw, shapes)


@functools.cache
def frozen() -> dict[str, Any]:
    """Returns an untrained text encoder, autoencoder and flow, which suffice for these tests."""
    names = ("text_encoder", "autoencoder", "flow")
    return {name: random_component(name, seed) for seed, name in enumerate(names)}


def batch_of(source: Source, size: int) -> dict[str, np.ndarray]:
    """Returns the first examples of a source as a batch of the loader."""
    examples = [source[i] for i in range(size)]
    captions = [example.pop("caption") for example in examples]
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    return batch | {"tokens": TOKENIZER(captions, TINY.text_encoder.max_length)}


@jax.jit(static_argnums=1)
def encode(video_BFHWC: jax.Array, resolution: int) -> jax.Array:
    """Encodes a clip in [-1, 1] to scaled latents by the frozen autoencoder."""
    return encode_frames(MICRO, frozen(), video_BFHWC, resolution)


text_of = jax.jit(lambda tokens_BT: encode_text(MICRO, frozen(), tokens_BT))


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
    leaves, structure = jax.tree.flatten(params)
    vector = np.concatenate([np.ravel(leaf) for leaf in leaves])
    ends = np.cumsum([np.size(leaf) for leaf in leaves])
    optimizer = optax.adam(learning_rate)

    def unravel(vector: Any) -> Any:
        parts = [
            vector[end - np.size(leaf) : end].reshape(np.shape(leaf))
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    @jax.jit
    def step(vector: Any, state: Any, frozen: Any, batch: Any, key: Any) -> Any:
        def loss(params: Any) -> Any:
            return task.loss(params, frozen, batch, keys(key, batch))

        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(unravel(vector))
        gradient = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
        update, state = optimizer.update(gradient, state)
        scalars = {name: as_scalar(metric) for name, metric in metrics.items()}
        return vector + update, state, {"loss": value, **scalars}

    state, metrics = jax.jit(optimizer.init)(vector), []
    for index in range(steps):
        vector, state, values = step(vector, state, task.frozen, batch, key(index))
        metrics.append(values)
    return unravel(np.asarray(vector)), [
        {name: float(value) for name, value in values.items()} for values in jax.device_get(metrics)
    ]


def mean(metrics: list[dict[str, float]], name: str = "loss") -> float:
    """Returns the mean over steps with a value: a quarter of the timesteps may have no sample."""
    return float(np.nanmean([values[name] for values in metrics]))
