"""The variables of a `SpaceTimeUNet` that are computed once per sample, without the rest of it.

Running the whole network with the collection `ONCE` mutable gives the same, but traces every layer
to keep a few projections: as long as tracing a step. A test compares both.

Letters: B clips, T text tokens, C channels.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax import trees
from videogen_jax.models.attention import CROSS_ATTENTION, Attention
from videogen_jax.models.embedding import CONDITIONS, EmbeddedInputs, condition_embedding
from videogen_jax.models.once import ONCE

if TYPE_CHECKING:
    from videogen_jax.models.unet import UNetConfig


def precompute(
    config: "UNetConfig",
    params: Any,
    text_BTD: jax.Array,
    inputs: EmbeddedInputs,
    num_frames: int,
    dtype: DTypeLike = jnp.float32,
) -> Any:
    """Returns a network's collection `ONCE`, a nested dict.

    Args:
        config: the network's sizes.
        params: its parameters.
        text_BTD: as for its call.
        inputs: as for its call; the timesteps are not used.
        num_frames: frames of a clip.
        dtype: type of the computation.

    Raises:
        ValueError: the network needs an input that is None.
    """
    text_BTD = text_BTD.astype(dtype)
    layers = trees.flatten(params)
    end = f"/{CROSS_ATTENTION}/to_k/kernel"
    computed: dict[str, Any] = {}
    for path in [name.removesuffix("/to_k/kernel") for name in layers if name.endswith(end)]:
        below = f"{path}/"
        own = {n.removeprefix(below): x for n, x in layers.items() if n.startswith(below)}
        query_B1C = jnp.zeros((len(text_BTD), 1, own["to_q/kernel"].shape[0]), dtype)
        # One head, since keys and values are those of all heads.
        layer: Any = Attention(1, dtype=dtype)
        variables = {"params": trees.unflatten(own)}
        _, found = layer.apply(variables, query_B1C, text_BTD, mutable=[ONCE])
        computed |= {f"{path}/{name}": value for name, value in found[ONCE].items()}
    if config.temporal or config.low_res_noise:
        embed = _Conditions(config, num_frames, dtype)
        computed[CONDITIONS] = embed.apply({"params": params}, inputs)
    return trees.unflatten(computed)


class _Conditions(nn.Module):
    """The embeddings alone, whose layers have the names that they have in the network."""

    config: "UNetConfig"
    num_frames: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: EmbeddedInputs) -> jax.Array:
        return condition_embedding(self.config, self.dtype, inputs, self.num_frames)
