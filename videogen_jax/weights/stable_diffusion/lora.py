"""Merging of LoRA files (Hu et al. 2021, arXiv:2106.09685) into Stable Diffusion in conversion.

A LoRA file contains pairs of small matrices for layers of the UNet and the text encoder. The merged
weight of a layer is W + scale · alpha/rank · up @ down (alpha/√rank if the metadata has rsLoRA).
Layers are found by their diffusers names, whatever the format of the weights. Keys may be

    unet.LAYER.lora_A.weight, .lora_B.weight                    PEFT and diffusers
    unet.LAYER.lora.down.weight, .lora.up.weight                diffusers before PEFT, also with
    text_encoder.LAYER.lora_linear_layer.down.weight             `.processor.to_q_lora.down.weight`
    base_model.model.LAYER.lora_A.weight                        PEFT's own files
    lora_unet_LAY_ER.lora_down.weight, .lora_up.weight, .alpha  kohya; lora_te_LAY_ER, also with
                                                                 Stability's names of the layers

`alpha` is a tensor beside the pair or a field of PEFT's configuration in the file's metadata; by
default it is the rank. All keys that are unknown or do not fit are raised together as one error.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.trees import Tree
from videogen_jax.weights.files import SafeTensors, Tensors, open_tensors
from videogen_jax.weights.rules import Shape
from videogen_jax.weights.stable_diffusion.lora_metadata import PeftMetadata
from videogen_jax.weights.stable_diffusion.lora_targets import Target, lora_targets
from videogen_jax.weights.stable_diffusion.sources import Component

_KEY = re.compile(
    r"(?P<layer>.+?)(?:"
    r"\.lora_(?P<peft>[AB])(\.default)?\.weight"
    r"|(?:_lora|\.lora|\.lora_linear_layer)\.(?P<diffusers>down|up)\.weight"
    r"|\.lora_(?P<kohya>down|up|mid)\.weight"
    r"|\.(?P<alpha>alpha))"
)
_OTHER_SPELLINGS = (
    (re.compile(r"^((?:unet|text_encoder)\.)?base_model\.model\."), r"\1"),  # of PEFT itself
    (re.compile(r"\.processor(?=\.)"), ""),
    (re.compile(r"\.self_attn\.to_(q|k|v|out)$"), r".self_attn.\1_proj"),
    (re.compile(r"\.to_out$"), ".to_out.0"),
)
_OTHER_KINDS = (
    (re.compile(r".*\.hada_.*"), "LoHa, which is not supported"),
    (re.compile(r".*\.lokr_.*"), "LoKr, which is not supported"),
    (re.compile(r".*(dora_scale|lora_magnitude_vector).*"), "DoRA, which is not supported"),
    (re.compile(r"(text_encoder_2\.|lora_te2_).*"), "for a second text encoder, as of SDXL"),
)


@dataclass(frozen=True)
class _Pair:
    """The change of one weight: `keys` by kind ("down", "up", perhaps "mid") and `factor`."""

    target: Target
    keys: Mapping[str, str]
    factor: float

    def delta(self, tensors: Tensors) -> np.ndarray:
        """Computes the change of the weight, in our layout, float32."""
        arrays = {kind: tensors[key].astype(np.float32) for kind, key in self.keys.items()}
        up, down = arrays["up"], arrays["down"]
        up, rank = up.reshape(len(up), -1), len(down)
        if "mid" in arrays:
            down = np.einsum("abhw,bi->aihw", arrays["mid"], down.reshape(rank, -1))
        product = up @ down.reshape(rank, -1)
        product *= np.float32(self.factor)
        target = self.target
        return target.transform.to_target(product.reshape(target.shape), target.our_shape)


@dataclass(frozen=True)
class Lora:
    """An opened and checked LoRA file.

    Attributes:
        file: Its path.
        scale: Factor of its pairs.
        layers: For each network, our path -> the layer's name in the file.
    """

    file: str
    scale: float
    layers: Mapping[Component, Mapping[str, str]]
    _tensors: Tensors
    _pairs: Mapping[tuple[Component, str], _Pair]

    def delta(self, component: Component, path: str) -> np.ndarray | None:
        """Computes the change of a parameter, float32 of its shape; None if it has no change."""
        pair = self._pairs.get((component, path))
        return None if pair is None else self.scale * pair.delta(self._tensors)


def open_loras(
    files: Sequence[Path],
    scales: Sequence[float],
    expected: Mapping[Component, Tree],
    components: Iterable[Component],
) -> tuple[Lora, ...]:
    """Opens LoRA files and checks all of their content.

    Args:
        files: `.safetensors`, or pickles of tensors.
        scales: One for each file, one for all, or none for 1.
        expected: The parameters of `LORA_COMPONENTS`, leaves with a `shape`.
        components: The networks to convert; the file must be for at least one of them.

    Raises:
        MissingFile: A file does not exist.
        UserError: The numbers of scales and files differ or a scale is not finite; a file is
            damaged, is for none of `components`, or has keys of another kind, for unknown layers,
            with only one matrix of a pair, of the wrong shape or not finite; names the file and all
            keys.
    """
    if len(scales) not in {0, 1, len(files)} or (scales and not files):
        raise UserError(
            f"there are {len(scales)} LoRA scales for {len(files)} LoRA files, "
            "expected one for each file or one for all"
        )
    if not all(map(math.isfinite, scales)):
        raise UserError(f"the LoRA scales are {list(scales)}, expected finite numbers")
    each = list(scales) if len(scales) == len(files) else list(scales or [1.0]) * len(files)
    named = lora_targets(expected)
    wanted = tuple(components)
    return tuple(_open(path, scale, named, wanted) for path, scale in zip(files, each, strict=True))


def _open(
    path: Path, scale: float, named: Mapping[str, Target], components: tuple[Component, ...]
) -> Lora:
    tensors = open_tensors(path)
    metadata = PeftMetadata(path, tensors.metadata if isinstance(tensors, SafeTensors) else {})
    found, problems = _group(tensors, named)
    problems += [f"  ! {problem}" for problem in metadata.problems]
    for target, keys in found.items():
        problems += _wrong(target, keys, tensors)
        if "alpha" in keys and metadata.tells_alpha(target.component):
            problems.append(f"  ! {keys['alpha']} is given by the metadata too")
    if problems:
        raise UserError("\n".join([f"{path} cannot be merged:", *sorted(set(problems))]))
    if not found:
        raise UserError(f"{path} has no LoRA weights")

    pairs: dict[tuple[Component, str], _Pair] = {}
    layers: dict[Component, dict[str, str]] = {}
    for target, keys in found.items():
        pairs[target.component, target.path] = _pair(target, keys, tensors, metadata)
        layers.setdefault(target.component, {})[target.path] = _layer_of(keys["down"])
    if not layers.keys() & set(components):
        raise UserError(
            f"{path} is for {' and '.join(layers)}, expected a LoRA for what is converted: "
            + ", ".join(components)
        )
    return Lora(str(path), scale, layers, tensors, pairs)


def _pair(
    target: Target, keys: Mapping[str, str], tensors: Tensors, metadata: PeftMetadata
) -> _Pair:
    rank = tensors.shape(keys["down"])[0]
    if "alpha" in keys:
        factor = float(tensors[keys["alpha"]].reshape(())) / rank
    else:
        factor = metadata.factor(target.component, target.layer, rank)
    weights = {kind: key for kind, key in keys.items() if kind != "alpha"}
    return _Pair(target, weights, factor)


def _layer_of(key: str) -> str:
    match = _KEY.fullmatch(key)
    return match["layer"] if match else key


def _group(
    tensors: Tensors, named: Mapping[str, Target]
) -> tuple[dict[Target, dict[str, str]], list[str]]:
    """Returns the keys of each target by kind, and an error line for every other key."""
    found: dict[Target, dict[str, str]] = {}
    problems = []
    for key in tensors:
        other = next((what for pattern, what in _OTHER_KINDS if pattern.fullmatch(key)), None)
        match = _KEY.fullmatch(key)
        if other or match is None:
            problems.append(f"  + {key} is {other or 'no weight of a LoRA'}")
            continue
        target = named.get(_current(match["layer"]))
        kind = match["diffusers"] or match["kohya"] or match["alpha"]
        kind = kind or {"A": "down", "B": "up"}[match["peft"]]
        if target is None:
            problems.append(f"  + {key} is for an unknown layer")
        elif kind in found.get(target, {}):
            problems.append(f"  + {key} and {found[target][kind]} are the same")
        else:
            found.setdefault(target, {})[kind] = key
    return found, problems


def _current(layer: str) -> str:
    for pattern, new in _OTHER_SPELLINGS:
        layer = pattern.sub(new, layer)
    return layer


def _wrong(target: Target, keys: Mapping[str, str], tensors: Tensors) -> Iterator[str]:
    """Yields an error line for everything that keeps `keys` from changing `target`."""
    if missing := [kind for kind in ("down", "up") if kind not in keys]:
        yield f"  - {', '.join(keys.values())} has no {' and '.join(missing)} weight beside it"
        return
    down = tensors.shape(keys["down"])
    rank = down[0] if down and down[0] else 1
    for kind, shapes in _shapes(target.shape, rank, "mid" in keys).items():
        if kind not in keys:
            continue
        key, shape = keys[kind], tensors.shape(keys[kind])
        if shape not in shapes:
            yield f"  ! {key} has shape {shape}, expected {' or '.join(map(str, shapes))}"
            continue
        array = tensors[key]
        if kind != "alpha" and not jnp.issubdtype(array.dtype, jnp.floating):
            yield f"  ! {key} is of type {array.dtype}, expected floating-point numbers"
        elif not np.isfinite(array).all():
            yield f"  ! {key} has NaN or infinity"
        elif kind == "alpha" and not array.any():
            yield f"  ! {key} is 0"


def _shapes(shape: Shape, rank: int, has_mid: bool) -> dict[str, list[Shape]]:
    """Returns the allowed shapes of each kind, for a weight of `shape` in torch's layout.

    A 1×1 convolution may be stored as a linear layer and vice versa.
    """
    outputs, inputs, *kernel = shape
    narrow = [(rank, inputs), (rank, inputs, 1, 1)]
    full = narrow if math.prod(kernel) == 1 and not has_mid else [(rank, inputs, *kernel)]
    return {
        "down": narrow if has_mid else full,
        "mid": [(rank, rank, *kernel)] if kernel else [],
        "up": [(outputs, rank), (outputs, rank, 1, 1)],
        "alpha": [(), (1,)],
    }
