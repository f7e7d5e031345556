"""Applying a network to a few images or clips at a time, so that its memory is bounded.

Letters: N images or clips, D devices that share them.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange

from videogen_jax.layout import tiles

# Pixels that a device processes at a time: with the autoencoder 4 frames of 512², with a network of
# clips 16, one clip of the cascade.
IMAGE_PIXELS, CLIP_PIXELS = 2**20, 2**22


def at_once(limit: int, *shape: int) -> int:
    """Returns how many images or clips of a shape have at most `limit` pixels; at least 1."""
    return max(1, limit // math.prod(shape))


def spread(number: int, devices: int, most: int) -> int:
    """Returns how many of `number` entries all devices process at a time: evenly, `most` each."""
    times = math.ceil(number / (devices * most))
    return devices * math.ceil(number / (times * devices))


def in_groups(
    function: Callable[[jax.Array], Any], x: jax.Array, size: int, name: str = "images"
) -> Any:
    """Returns `function(x)`, computed for groups of `x` one after the other; traced under jit.

    A device's share of a group has at most `size` entries, and groups are as equal as possible. The
    last one may be filled up with zeros. If one group suffices, there is no loop.

    Args:
        function: maps each entry of the first axis on its own; returns arrays with that axis.
        x: `[N, ...]`, in one of the orders of `layers.fold_frames` if devices share it.
        size: at least 1.
        name: the first axis in `layout.ACTIVATIONS`.
    """
    devices = tiles(name, x.shape[0])
    share = x.shape[0] // devices
    count = math.ceil(share / size)
    if count <= 1:
        return function(x)
    length = math.ceil(share / count)
    filled = [(0, 0), (0, count * length - share)] + [(0, 0)] * (x.ndim - 1)
    shares = jnp.pad(rearrange(x, "(d n) ... -> d n ...", d=devices), filled)
    # Every group has a part of every device's share, so that nothing moves between devices.
    groups = rearrange(shares, "d (m n) ... -> m (d n) ...", m=count)

    def whole(y: jax.Array) -> jax.Array:
        shares = rearrange(y, "m (d n) ... -> d (m n) ...", d=devices)
        return rearrange(shares[:, :share], "d n ... -> (d n) ...")

    return jax.tree.map(whole, jax.lax.map(function, groups))
