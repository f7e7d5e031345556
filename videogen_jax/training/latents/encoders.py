"""The frozen networks that fill a latent cache, as functions on the devices of a process.

Letters: B windows, F frames, H height, W width, T tokens; a trailing 3 are RGB channels, a trailing
2 a flow's (x, y).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.triplets import inner_times
from videogen_jax.data.latents.layout import CacheLayout
from videogen_jax.data.latents.shards import Encoders
from videogen_jax.data.transforms import to_float
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.pipeline.encode import encode_posterior
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.frozen import encode_text
from videogen_jax.training.task import Params
from videogen_jax.training.teacher import load_teacher, teacher_flows
from videogen_jax.weights import model_dir


def frozen_encoders(
    model: ModelConfig, directory: Path, layout: CacheLayout, mesh: Mesh, batch: int
) -> Encoders:
    """Returns autoencoder and text encoder; each device always has equally many windows.

    Raises the errors of `model_dir.load_component`.
    """
    tokenizer = load_tokenizer(directory / "tokenizer")
    names = ("autoencoder", "text_encoder")
    frozen = _on_mesh(mesh, {name: model_dir.load_component(directory, name) for name in names})

    factor = model.autoencoder.factor
    sizes = {r: (factor * h, factor * w) for r, (_, h, w, _) in layout.latents.items()}

    @jax.jit
    def latents(frozen: Params, video_BFHW3: jax.Array) -> dict[int, jax.Array]:
        pixels = to_float(video_BFHW3)
        moments = {r: encode_posterior(model, frozen, pixels, sizes[r]) for r in sizes}
        return {resolution: jnp.stack(pair, axis=1) for resolution, pair in moments.items()}

    @jax.jit
    def text(frozen: Params, tokens_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        states = encode_text(model, frozen, tokens_BT)
        return states.states_BTD, states.pooled_BD

    length = model.text_encoder.max_length
    tokens = lambda captions: tokenizer(captions, length)
    return Encoders(_sharded(mesh, latents, frozen), tokens, _sharded(mesh, text, frozen), batch)


def flow_encoder(
    directory: str, dtype: DTypeLike, layout: CacheLayout, mesh: Mesh
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns `Encoders.flows` of a layout with flows, by the teacher of a directory.

    Raises the errors of `load_teacher`.
    """
    if layout.flows is None:
        raise ValueError("the layout has no flows")
    teacher, params = load_teacher(load_pixel_flow, directory, dtype)
    _, _, *size, _ = layout.flows
    times = inner_times(layout.num_frames)

    @jax.jit
    def flows(params: Params, video_BFHW3: jax.Array) -> jax.Array:
        a, b = video_BFHW3[:, 0], video_BFHW3[:, -1]

        def at(time: jax.Array) -> jax.Array:
            time_B = jnp.broadcast_to(time, len(a))
            return jnp.stack(teacher_flows(teacher, params, a, b, time_B, size), axis=1)

        # One inner frame after the other, which needs the memory of one.
        return jnp.moveaxis(jax.lax.map(at, jnp.asarray(times)), 0, 1)

    return _sharded(mesh, flows, _on_mesh(mesh, params))


def _on_mesh(mesh: Mesh, params: Params) -> Params:
    return sharding.put_tree(params, sharding.tree_shardings(mesh, params))


def _sharded(
    mesh: Mesh, function: Callable[..., Any], params: Params
) -> Callable[[np.ndarray], Any]:
    """Returns a function of a batch, which it puts on the mesh; its results are on the host."""
    put = lambda array: sharding.put_batch(mesh, {"batch": array})["batch"]
    return lambda array: jax.device_get(function(params, put(array)))
