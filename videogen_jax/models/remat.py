"""Rematerialisation: recomputing activations in the backward pass, by a named policy."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from flax import linen as nn

Remat = Literal["none", "blocks", "dots"]
"""What is kept of a block for the backward pass: everything ("none"), its inputs alone ("blocks"),
or also the results of its convolutions and matrix products ("dots"): the others are cheap."""

Block = TypeVar("Block", bound=Callable[..., Any])


def remat(block: Block, policy: Remat, static_argnums: tuple[int, ...] = ()) -> Block:
    """Applies a policy to a module class or to a module's method; its parameters stay the same.

    `static_argnums` are the positions of the call's arguments that are not arrays, with `self` at
    0. These arguments must be passed by position.
    """
    match policy:
        case "none":
            return block
        case "blocks":
            return nn.remat(block, static_argnums=static_argnums)
        case "dots":
            return nn.remat(block, static_argnums=static_argnums, policy=_is_product)


def _is_product(primitive: Any, *_: Any, **params: Any) -> bool:
    """Whether to keep a primitive: convolutions and products, but not attention's large logits."""
    if primitive.name == "dot_general":
        _, batch_dimensions = params["dimension_numbers"]
        return not any(batch_dimensions)
    return primitive.name == "conv_general_dilated"
