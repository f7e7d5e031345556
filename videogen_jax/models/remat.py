"""Recomputing a block's activations in the backward pass, by a named policy: memory for time."""

from typing import Any, Literal, TypeVar

from flax import linen as nn

Remat = Literal["none", "blocks", "dots"]
"""What of a block is kept for the backward pass: everything; its inputs alone; also the results of
its convolutions and matrix products, so that only what is cheap is computed again."""

Module = TypeVar("Module", bound=type[nn.Module])


def remat(module: Module, policy: Remat, static_argnums: tuple[int, ...] = ()) -> Module:
    """The module class under a policy, with the same parameters.

    `static_argnums` are the positions of the call's arguments that are no arrays, `self` being 0;
    these have to be given by position.
    """
    match policy:
        case "none":
            return module
        case "blocks":
            return nn.remat(module, static_argnums=static_argnums)
        case "dots":
            return nn.remat(module, static_argnums=static_argnums, policy=_is_product)


def _is_product(primitive: Any, *_: Any, **params: Any) -> bool:
    """Convolutions and matrix products, but not the logits of attention, which are large."""
    if primitive.name == "dot_general":
        _, batch_dimensions = params["dimension_numbers"]
        return not any(batch_dimensions)
    return primitive.name == "conv_general_dilated"
