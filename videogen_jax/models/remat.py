"""Rematerialisation: recomputing activations in the backward pass, by a named policy."""

from typing import Any, Literal, TypeVar

from flax import linen as nn

Remat = Literal["none", "blocks", "dots"]
"""What is kept of a block for the backward pass: everything ("none"), its inputs alone ("blocks"),
or also the results of its convolutions and matrix products ("dots"): the others are cheap."""

Module = TypeVar("Module", bound=type[nn.Module])


def remat(module: Module, policy: Remat, static_argnums: tuple[int, ...] = ()) -> Module:
    """Applies a policy to a module class; its parameters stay the same.

    `static_argnums` are the positions of the call's arguments that are not arrays, with `self` at
    0. These arguments must be passed by position.
    """
    match policy:
        case "none":
            return module
        case "blocks":
            return nn.remat(module, static_argnums=static_argnums)
        case "dots":
            return nn.remat(module, static_argnums=static_argnums, policy=_is_product)


def _is_product(primitive: Any, *_: Any, **params: Any) -> bool:
    """Whether to keep a primitive: convolutions and products, but not attention's large logits."""
    if primitive.name == "dot_general":
        _, batch_dimensions = params["dimension_numbers"]
        return not any(batch_dimensions)
    return primitive.name == "conv_general_dilated"
