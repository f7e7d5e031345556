"""The layers that LoRA files may change, by the names that they have there."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from videogen_jax.trees import Tree, flatten
from videogen_jax.weights.rules import CONV, LINEAR, POINTWISE, Shape, Table, Transform
from videogen_jax.weights.stable_diffusion.sources import Component
from videogen_jax.weights.tables.compvis import compvis_unet
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

_TABLES: Mapping[Component, Table] = {"text_encoder": TEXT_ENCODER, "image_unet": UNET}
LORA_COMPONENTS: tuple[Component, ...] = tuple(_TABLES)
"""The networks that LoRA files may change."""

_DOTTED: Mapping[Component, tuple[str, ...]] = {
    "text_encoder": ("text_encoder.text_model.", "text_encoder.", "text_model.", ""),
    "image_unet": ("unet.", ""),
}
_UNDERSCORED: Mapping[Component, tuple[str, ...]] = {
    "text_encoder": ("lora_te_text_model_", "lora_te_", "lora_te1_text_model_", "lora_te1_"),
    "image_unet": ("lora_unet_",),
}


@dataclass(frozen=True)
class Target:
    """A weight that pairs may change: `layer` is its diffusers name, `shape` its torch shape."""

    component: Component
    path: str
    layer: str
    transform: Transform
    shape: Shape
    our_shape: Shape


def lora_targets(expected: Mapping[Component, Tree]) -> dict[str, Target]:
    """Returns the targets by every name that a layer may have in a LoRA file."""
    named = {}
    original = _original_unet(flatten(expected["image_unet"]))
    for component, tree in expected.items():
        for path, leaf in flatten(tree).items():
            for rule, key in _TABLES[component].sources_of(path):
                if rule.transform not in (LINEAR, CONV, POINTWISE):
                    continue
                layer, ours = key.removesuffix(".weight"), tuple(leaf.shape)
                shape = rule.transform.to_source(np.broadcast_to(np.float32(0), ours)).shape
                target = Target(component, path, layer, rule.transform, shape, ours)
                named |= {prefix + layer: target for prefix in _DOTTED[component]}
                flat = layer.replace(".", "_")
                named |= {prefix + flat: target for prefix in _UNDERSCORED[component]}
                if component == "image_unet":
                    ((_, key),) = original.sources_of(path)
                    layer = key.removesuffix(".weight")
                    named["lora_unet_" + layer.replace(".", "_")] = target
                    named["diffusion_model." + layer] = target
    return named


def _original_unet(paths: Iterable[str]) -> Table:
    """Returns the table of Stability's names for a UNet with these parameters."""
    found = [re.match(r"down_blocks_(\d+)/(resnets|attentions)_(\d+)/", path) for path in paths]
    blocks = {(int(m[1]), m[2], int(m[3])) for m in found if m}
    levels = 1 + max(level for level, _, _ in blocks)
    attends = [any(b[:2] == (i, "attentions") for b in blocks) for i in range(levels)]
    return compvis_unet(attends, sum(block[:2] == (0, "resnets") for block in blocks))
