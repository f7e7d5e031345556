"""A diffusion network as a sampling loop calls it: what no step changes is computed before it.

Letters: B samples, F frames, H height, W width, Z latent channels, T tokens, S timesteps, D
features of an embedding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from videogen_jax.diffusion.guidance import GuidancePasses
from videogen_jax.layout import constrain
from videogen_jax.models.embedding import EmbeddedInputs, time_embeddings
from videogen_jax.models.once import ONCE
from videogen_jax.models.precompute import precompute
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.pipeline.conditioning import network_input

Params = Any  # a nested dict of arrays

# How the devices of a mesh share an array of a number of axes: text and what is made of it by
# samples, latents as the network's input.
_LAYOUTS = {3: "batch . .", 5: "batch frames rows . ."}


class Conditions(NamedTuple):
    """Inputs of a network besides the noisy latents; None for those that it does not take.

    With `negative`, classifier-free guidance leads away from that text; with None, no guidance is
    used.
    """

    text: TextStates
    negative: TextStates | None = None
    reference_BFHWZ: jax.Array | None = None
    low_res_BFHWZ: jax.Array | None = None
    fps_B: jax.Array | None = None
    low_res_noise_B: jax.Array | None = None


class Prepared(NamedTuple):
    """What a network takes in every step, for one pass of the conditions or for both of guidance.

    The first axis of each array is `[B]`; with passes "together" it is `[2B]`, and with passes
    "in_turn" there is an axis of two before it. The unconditional pass is the first.

    Attributes:
        computed: the network's variables that depend on the conditions alone, see `models.once`.
        text_BTD: the text's states, of which only the shape is used.
        reference_BFHWZ: as in `Conditions`.
        low_res_BFHWZ: as in `Conditions`.
    """

    computed: Any
    text_BTD: jax.Array
    reference_BFHWZ: jax.Array | None
    low_res_BFHWZ: jax.Array | None


class Network:
    """A `SpaceTimeUNet` of which the parts that depend on conditions alone are computed once.

    Args:
        config: its sizes.
        dtype: type of the computation.
    """

    def __init__(self, config: UNetConfig, dtype: DTypeLike):
        self._config, self._dtype = config, dtype
        self._unet: Any = SpaceTimeUNet(config, dtype)  # Any: `apply` is typed as a union

    def __call__(
        self, params: Params, x: jax.Array, embedded_BD: jax.Array, prepared: Prepared
    ) -> jax.Array:
        """Returns the output for noisy latents and `time_embeddings`, `[B, F, H, W, Z]`."""
        return self._unet.apply(
            {"params": params, ONCE: prepared.computed},
            network_input(x, prepared.reference_BFHWZ, prepared.low_res_BFHWZ),
            embedded_BD,
            prepared.text_BTD,
        )

    def time_embeddings(self, params: Params, timesteps_S: jax.Array) -> jax.Array:
        """Returns the embeddings of timesteps, `[S, D]`, which all devices have."""
        return constrain(time_embeddings(self._config, params, timesteps_S, self._dtype), ". .")

    def prepare(
        self, params: Params, given: Conditions, num_frames: int, passes: GuidancePasses | None
    ) -> Prepared:
        """Computes what the steps have in common.

        Args:
            params: the network's parameters.
            given: the conditions.
            num_frames: F.
            passes: how guidance, which needs `given.negative`, runs the network; None for none.
        """
        if passes is not None:
            assert given.negative is not None
            # Only the text differs: reference and low-res latents are in both passes (§3.2).
            conditional = given._replace(negative=None)
            unconditional = conditional._replace(text=given.negative)
            given = jax.tree.map(lambda *x: jnp.concatenate(x), unconditional, conditional)
        text, no_steps_B = given.text, jnp.zeros(len(given.text.states_BTD))
        inputs = EmbeddedInputs(no_steps_B, text.pooled_BD, given.fps_B, given.low_res_noise_B)
        fixed = self._config, params, text.states_BTD, inputs, num_frames, self._dtype
        prepared = Prepared(
            precompute(*fixed), text.states_BTD, given.reference_BFHWZ, given.low_res_BFHWZ
        )
        if passes == "in_turn":
            prepared = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), prepared)
        return laid_out(constrain, prepared, passes)


def laid_out(
    place: Callable[[Any, str], Any], prepared: Prepared, passes: GuidancePasses | None
) -> Prepared:
    """Maps `place(array, names of its axes)` over the arrays; the names are those of `layout`."""

    def placed(x: Any) -> Any:
        names = f". {_LAYOUTS[x.ndim - 1]}" if passes == "in_turn" else _LAYOUTS[x.ndim]
        return place(x, names)

    return jax.tree.map(placed, prepared)
