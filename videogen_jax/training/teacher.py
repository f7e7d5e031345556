"""The teacher of the flow: a frozen IFRNet on pixels, whose flows the latent flow distils (§3.5).

Letters: B triplets, H height, W width; a trailing 3 are RGB channels, a trailing 2 a flow's (x, y).
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.typing import DTypeLike

from videogen_jax import trees
from videogen_jax.data.transforms import to_float
from videogen_jax.errors import UserError
from videogen_jax.models.flow import FlowConfig, LatentFlow
from videogen_jax.models.warp import resize_flow
from videogen_jax.training.task import Params

_RGB = 3


def load_teacher(
    load: Callable[[str], tuple[FlowConfig, Params]], directory: str, dtype: DTypeLike
) -> tuple[LatentFlow, Params]:
    """Loads the network that `convert.ifrnet` wrote to a directory.

    Args:
        load: `models.features.loading.load_pixel_flow`, or the same with shapes.
        directory: argument of `load`.
        dtype: dtype of the parameters and of the computation.

    Returns:
        the network, and its parameters or their shapes.

    Raises:
        UserError: the network does not take RGB frames; or as `load`.
    """
    sizes, params = load(directory)
    check_teacher(directory, sizes)
    return LatentFlow(sizes, dtype), trees.in_dtype(params, dtype)


def check_teacher(directory: str | os.PathLike[str], sizes: FlowConfig) -> None:
    """Raises UserError unless the network of a directory takes RGB frames."""
    if sizes.in_channels != _RGB:
        raise UserError(
            f"{directory}: the teacher takes frames of {sizes.in_channels} channels, expected "
            f"{_RGB} (RGB)"
        )


def teacher_flows(
    teacher: LatentFlow,
    params: Params,
    a_BHW3: jax.Array,
    b_BHW3: jax.Array,
    time_B: jax.Array,
    size: Sequence[int],
) -> tuple[jax.Array, jax.Array]:
    """Returns the flows from the frame at a time to frames a and b, resized to latents (§3.5).

    Args:
        teacher: the network of `load_teacher`.
        params: its parameters.
        a_BHW3: uint8 frames at time 0, at the resolution at which the flows are computed.
        b_BHW3: uint8 frames at time 1.
        time_B: float32, of the frame between them.
        size: (height, width) of the latents.

    Returns:
        to a and to b, float32 `[B, *size, 2]`, in latent pixels; without gradient.
    """
    a, b = (to_float(frames) / 2 + 0.5 for frames in (a_BHW3, b_BHW3))  # IFRNet's are in [0, 1]
    output: Any = teacher.apply({"params": params}, a, b, time_B)
    flows = jax.lax.stop_gradient((output.flow_a_BHW2, output.flow_b_BHW2))
    return resize_flow(flows[0], size), resize_flow(flows[1], size)
