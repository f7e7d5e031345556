"""The embedding of a `SpaceTimeUNet`'s scalar inputs and frame indices, which its blocks add.

Letters: B clips, F frames, N = B·F images, S timesteps, D features of an embedding.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import repeat
from jax.typing import DTypeLike

from videogen_jax.layout import constrain
from videogen_jax.models.layers import EmbeddingMLP, fold_frames, sinusoidal_embedding
from videogen_jax.models.once import once
from videogen_jax.models.temporal import FrameEmbedding

if TYPE_CHECKING:
    from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig


CONDITIONS = "conditions"  # the variable of what `condition_embedding` returns


class EmbeddedInputs(NamedTuple):
    """Inputs of a `SpaceTimeUNet` that it embeds; see its call."""

    timesteps_B: jax.Array
    pooled_BD: jax.Array | None
    fps_B: jax.Array | None
    low_res_noise_B: jax.Array | None


def embedding(network: "SpaceTimeUNet", inputs: EmbeddedInputs, num_frames: int) -> jax.Array:
    """Sums the embeddings of timestep, FPS, low-res noise level and frame index, `[N, D]`.

    Called by a network's `__call__`; the layers are the network's. All but the timestep's are
    computed once per sample: see `once`.

    Raises:
        ValueError: the network needs an input that is None.
    """
    config, base = network.config, network.config.block_out_channels[0]
    embedding_BD = inputs.timesteps_B
    if embedding_BD.ndim == 1:
        mlp = EmbeddingMLP(4 * base, dtype=network.dtype, name="time_embedding")
        embedding_BD = mlp(sinusoidal_embedding(embedding_BD, base).astype(network.dtype))
    embedding_BFD = repeat(embedding_BD, "b d -> b f d", f=num_frames)
    if config.temporal or config.low_res_noise:
        embedding_BFD += once(
            network,
            CONDITIONS,
            lambda: condition_embedding(config, network.dtype, inputs, num_frames),
        )
    return fold_frames(constrain(embedding_BFD, "batch frames ."))


def time_embeddings(
    config: "UNetConfig", params: Any, timesteps_S: jax.Array, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """Returns a network's embeddings of timesteps, `[S, D]`, which its call takes in their place.

    Args:
        config: the network's sizes.
        params: its parameters.
        timesteps_S: integer or real.
        dtype: type of the computation.
    """
    base = config.block_out_channels[0]
    mlp: Any = EmbeddingMLP(4 * base, dtype=dtype)  # Any: `apply` is typed as a union
    positions_SC = sinusoidal_embedding(timesteps_S, base).astype(dtype)
    return mlp.apply({"params": params["time_embedding"]}, positions_SC)


def condition_embedding(
    config: "UNetConfig", dtype: DTypeLike, inputs: EmbeddedInputs, num_frames: int
) -> jax.Array:
    """Sums the embeddings without the timestep's: `[B, F, D]`, or `[B, 1, D]` for all frames.

    Called by a module's `__call__`; the layers are that module's.

    Raises:
        ValueError: the network needs an input that is None.
    """
    base = config.block_out_channels[0]

    def embed(name: str, values_B: jax.Array) -> jax.Array:
        mlp = EmbeddingMLP(4 * base, zero_init=True, dtype=dtype, name=name)
        return mlp(sinusoidal_embedding(values_B, base).astype(dtype))[:, None]

    parts = []
    if config.temporal:
        parts.append(embed("temporal_fps_embedding", _required(inputs.fps_B, "fps_B")))
    if config.low_res_noise:
        level_B = _required(inputs.low_res_noise_B, "low_res_noise_B")
        parts.append(embed("low_res_noise_embedding", level_B))
    if config.temporal and config.frame_embedding:
        frames = FrameEmbedding(4 * base, base, dtype, name="temporal_frame_embedding")
        parts.append(frames(_required(inputs.pooled_BD, "pooled_BD"), num_frames))
    return functools.reduce(jnp.add, parts)


def _required(value: jax.Array | None, name: str) -> jax.Array:
    if value is None:
        raise ValueError(f"this UNet's config needs the condition {name}, got None")
    return value
