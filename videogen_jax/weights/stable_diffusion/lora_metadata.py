"""PEFT's configuration of a LoRA.

diffusers writes it into the metadata of LoRA files, PEFT itself into a file beside them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.json_text import parse_json, read_json_object
from videogen_jax.weights.stable_diffusion.sources import Component

KEY = "lora_adapter_metadata"

_PREFIXES: Mapping[Component, str] = {"text_encoder": "text_encoder.", "image_unet": "unet."}
_TEXT_MODEL = "text_model."  # in names of transformers before 5, for which patterns were written
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "layer_replication",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
)
# The initialisations that do not change the base weights.
_KEEP_THE_BASE = (True, False, None, "gaussian", "orthogonal", "eva")


class PeftMetadata:
    """The metadata's fields for the scaling of pairs; those of a network are "unet.r" and so on.

    Raises:
        UserError: The metadata is not a JSON object; names the file.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        beside = path.with_name("adapter_config.json")
        has_file = KEY not in metadata and path.stem == "adapter_model" and beside.is_file()
        self._fields: dict[str, Any] = (
            read_json_object(beside) if has_file else _parse(path, metadata)
        )
        self.problems = tuple(_problems(self._fields))
        """Messages about unsupported and malformed fields."""

    def _of(self, component: Component) -> Mapping[str, Any]:
        prefix = _PREFIXES[component]
        fields = {
            k.removeprefix(prefix): v for k, v in self._fields.items() if k.startswith(prefix)
        }
        # A file for a single network has no prefixes.
        return self._fields if not fields and "lora_alpha" in self._fields else fields

    def tells_alpha(self, component: Component) -> bool:
        """Returns True if the metadata has a configuration of the network."""
        return bool(self._of(component))

    def factor(self, component: Component, layer: str, rank: int) -> float:
        """Returns alpha/rank, or alpha/√rank for rsLoRA; 1 without a configuration of the network.

        Args:
            component: The network.
            layer: The layer's diffusers name, without `text_model.`.
            rank: The pair's rank.
        """
        fields = self._of(component)
        if not fields:
            return 1.0
        alpha = fields["lora_alpha"]
        name = _TEXT_MODEL + layer if component == "text_encoder" else layer
        for pattern, value in (fields.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", name):  # as PEFT does
                alpha = value
                break
        return alpha / (math.sqrt(rank) if fields.get("use_rslora") else rank)


def _parse(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        fields = parse_json(metadata.get(KEY, "{}"))
    except ValueError as error:
        raise UserError(f"{path}: metadata {KEY} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{path}: metadata {KEY} is {fields!r}, expected an object")
    return fields


def _problems(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        prefix, dot, field = name.rpartition(".")
        if prefix + dot + "lora_alpha" not in fields:
            yield f"the metadata has no {prefix}{dot}lora_alpha"
        wrong = f"the metadata has {name} {value!r}"
        if field in _UNSUPPORTED and value:
            yield f"{wrong}, which is not supported"
        if field == "init_lora_weights" and value not in _KEEP_THE_BASE:
            yield f"{wrong}, which changes the weights that it is for"
        if field == "lora_alpha" and not _is_number(value):
            yield f"{wrong}, expected a finite number"
        if field == "alpha_pattern" and not _is_pattern(value):
            yield f"{wrong}, expected patterns of layers with finite numbers"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_pattern(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not all(map(_is_number, value.values())):
        return False
    try:
        return all(re.compile(pattern) for pattern in value)
    except re.error:
        return False
