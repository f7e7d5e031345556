"""Rules for the layers in the tables.

Each function takes a layer's name in the source and returns the rules of its weight and bias. Our
path is the diffusers name of the layer (`ours`, by default the source's name) with "_" for a "."
before an index and "/" for any other ".", as the models name their modules.
"""

import re

from videogen_jax.weights.rules import CONV, EMBEDDING, LINEAR, POINTWISE, VECTOR, Rule, Transform

CONV_3D = Transform(
    (5,),
    lambda array, _: array.transpose(2, 3, 4, 1, 0),
    lambda array: array.transpose(4, 3, 0, 1, 2),
)
"""Kernels OIFHW (torch) to FHWIO."""


def conv(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """Returns the rules of a layer that is a 2D convolution on both sides."""
    return _layer(source, ours, "kernel", CONV)


def linear(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """Returns the rules of a linear layer."""
    return _layer(source, ours, "kernel", LINEAR)


def pointwise(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """Returns the rules of a layer that is a 1×1 convolution or a linear layer on either side."""
    return _layer(source, ours, "kernel", POINTWISE)


def norm(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """Returns the rules of a LayerNorm or GroupNorm."""
    return _layer(source, ours, "scale", VECTOR)


def embedding(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """Returns the rule of an embedding matrix [entries, features], which has no bias."""
    return _layer(source, ours, "embedding", EMBEDDING)[:1]


def resnet(source: str) -> tuple[Rule, ...]:
    """Returns the rules of diffusers' `ResnetBlock2D`, with or without time embedding."""
    return (
        *norm(f"{source}.norm1"),
        *conv(f"{source}.conv1"),
        *linear(f"{source}.time_emb_proj"),
        *norm(f"{source}.norm2"),
        *conv(f"{source}.conv2"),
        *conv(f"{source}.conv_shortcut"),
    )


def path_of(name: str) -> str:
    """Returns our path of a diffusers module."""
    return re.sub(r"\.(?=[\d{])", "_", name).replace(".", "/")


def _layer(source: str, ours: str | None, weight: str, transform: Transform) -> tuple[Rule, ...]:
    path = path_of(ours or source)
    return (
        Rule(f"{source}.weight", f"{path}/{weight}", transform),
        Rule(f"{source}.bias", f"{path}/bias", VECTOR),
    )
