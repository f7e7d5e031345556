"""Rules for the layers that the tables are made of.

Each function takes a layer's name in the source and gives the rules of its weight and bias. Our
path is that name, or the diffusers name `ours` where the source has another, with "_" for a "."
before an index and "/" for any other, which is how the models name their modules.
"""

import re

from videogen_jax.weights.rules import CONV, EMBEDDING, LINEAR, POINTWISE, VECTOR, Rule, Transform


def conv(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """A 2D convolution that is one on both sides."""
    return _layer(source, ours, "kernel", CONV)


def linear(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """A linear layer."""
    return _layer(source, ours, "kernel", LINEAR)


def pointwise(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """A 1×1 convolution or a linear layer, whichever it is on either side."""
    return _layer(source, ours, "kernel", POINTWISE)


def norm(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """A LayerNorm or GroupNorm."""
    return _layer(source, ours, "scale", VECTOR)


def embedding(source: str, ours: str | None = None) -> tuple[Rule, ...]:
    """An embedding matrix [entries, features]; it has no bias."""
    return _layer(source, ours, "embedding", EMBEDDING)[:1]


def resnet(source: str) -> tuple[Rule, ...]:
    """A residual block of diffusers (`ResnetBlock2D`), with or without time embedding."""
    return (
        *norm(f"{source}.norm1"),
        *conv(f"{source}.conv1"),
        *linear(f"{source}.time_emb_proj"),
        *norm(f"{source}.norm2"),
        *conv(f"{source}.conv2"),
        *conv(f"{source}.conv_shortcut"),
    )


def path_of(name: str) -> str:
    """Our path of a diffusers module."""
    return re.sub(r"\.(?=[\d{])", "_", name).replace(".", "/")


def _layer(source: str, ours: str | None, weight: str, transform: Transform) -> tuple[Rule, ...]:
    path = path_of(ours or source)
    return (
        Rule(f"{source}.weight", f"{path}/{weight}", transform),
        Rule(f"{source}.bias", f"{path}/bias", VECTOR),
    )
