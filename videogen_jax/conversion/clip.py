"""Conversion of CLIP, both towers, to the component `clip` of a model directory (§4).

`clip` is only used in evaluation. Its configuration is therefore in `clip.json`, and its tokenizer
in `clip_tokenizer/`: the text encoder of a model may be another one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.conversion.result import check_tokenizer
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.models.features.clip import CLIPConfig, VisionConfig
from videogen_jax.models.features.loading import CLIP_COMPONENT, CLIP_TOKENIZER
from videogen_jax.models.parameters import init_clip, shapes
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.weights.configured import add_configured, require_absent
from videogen_jax.weights.files import Tensors, open_tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.rules import Table, import_weights
from videogen_jax.weights.stable_diffusion.folder import find_weights
from videogen_jax.weights.stable_diffusion.tokenizer_files import copy_tokenizer
from videogen_jax.weights.tables.clip import CLIP_OPENAI, CLIP_TRANSFORMERS

_HEAD = 64  # channels of an attention head, in all of OpenAI's vision transformers


class _Source(NamedTuple):
    """The table of the weights, and the weights."""

    table: Table
    weights: Tensors


def convert_clip(
    source: Path, model_dir: Path, tokenizer: Path | None = None, dtype: DType | None = None
) -> CLIPConfig:
    """Adds the component `clip` to a model directory, which is created if necessary.

    Sizes are those of the weights; heads have 64 channels and activations are quick-GELU, as in
    all of OpenAI's models with vision transformers.

    Args:
        source: Folder or file of a `CLIPModel` of transformers, or OpenAI's own file
            (`ViT-B-32.pt`, a TorchScript file or its state dict).
        model_dir: New or existing directory without a `clip`.
        tokenizer: Folder with CLIP's tokenizer, such as `tokenizer/` of Stable Diffusion 1; by
            default `source`, if it is a folder.
        dtype: Type of the weights on disk; None keeps the source's.

    Returns:
        The network's configuration.

    Raises:
        MissingFile: A file does not exist, or there is no tokenizer.
        UserError: The weights are not those of such a CLIP, a file contains other things than
            tensors (nothing in it is executed), the tokenizer is another one, or `model_dir`
            already has a `clip` or cannot be written.
    """
    require_absent(model_dir, CLIP_COMPONENT)
    if tokenizer is None and not source.is_dir():
        raise MissingFile(
            f"{source} has no tokenizer, expected a folder of CLIP's (tokenizer), such as "
            "tokenizer/ of Stable Diffusion 1"
        )
    if source.is_dir():
        _check_config(source / "config.json")
    table, weights = _open(find_weights(source) if source.is_dir() else source)
    config = _config_of(table, weights, name=str(source))
    params = import_weights(table, weights, shapes(init_clip, config), name=str(source))
    folder = source if tokenizer is None else tokenizer
    check_tokenizer(load_tokenizer(folder), config.text)
    if model_dir.is_dir():
        _add(model_dir, folder, config, params, dtype)
    else:
        with replacing(model_dir) as temporary:
            temporary.mkdir()
            _add(temporary, folder, config, params, dtype)
    return config


def _add(
    directory: Path, tokenizer: Path, config: CLIPConfig, params: dict, dtype: DType | None
) -> None:
    with replacing(directory / CLIP_TOKENIZER) as temporary:
        copy_tokenizer(tokenizer, temporary)
    add_configured(directory, CLIP_COMPONENT, config, params, dtype)


def _open(path: Path) -> _Source:
    """Opens the file and recognises it by the name of the first convolution."""
    weights = open_tensors(path)
    firsts = []
    for table in (CLIP_TRANSFORMERS, CLIP_OPENAI):
        ((_, first),) = table.sources_of("vision_model/embeddings/patch_embedding/kernel")
        if first in weights:
            return _Source(table, weights)
        firsts.append(first)
    raise UserError(f"{path} is not a CLIP with a vision transformer: no {' or '.join(firsts)}")


def _check_config(path: Path) -> None:
    """Raises UserError if a folder's configuration is not OpenAI's kind; sizes are not read."""
    content = read_json_object(path)
    for tower in ("text_config", "vision_config"):
        fields = content.get(tower) or {}
        activation = fields.get("hidden_act", "quick_gelu")
        heads, width = fields.get("num_attention_heads"), fields.get("hidden_size")
        if activation != "quick_gelu":
            raise UserError(f"{path}: {tower} has {activation!r}, expected 'quick_gelu'")
        if heads is not None and width is not None and heads * _HEAD != width:
            raise UserError(
                f"{path}: {tower} has {heads} heads for {width} channels, expected {_HEAD} "
                "channels in each"
            )


def _config_of(table: Table, weights: Tensors, *, name: str) -> CLIPConfig:
    """Infers the sizes from the shapes of the weights."""
    by_name = {table.canonical(key): weights.shape(key) for key in weights}

    def shape(path: str, rank: int) -> tuple[int, ...]:
        ((rule, key),) = table.sources_of(path)
        found = by_name.get(key, ())
        if len(found) != rank:
            raise UserError(f"{name} is not a CLIP: no {key} with {rank} axes")
        return rule.transform.to_target(np.broadcast_to(np.float32(0), found), ()).shape

    def layers(tower: str) -> int:
        norm = lambda i: table.sources_of(f"{tower}/encoder/layers_{i}/layer_norm1/scale")[0][1]
        return next(i for i in range(len(by_name) + 1) if norm(i) not in by_name)

    (patch, _, _, _) = shape("vision_model/embeddings/patch_embedding/kernel", 4)
    places, _ = shape("vision_model/embeddings/position_embedding", 2)
    vocab_size, _ = shape("text_model/embeddings/token_embedding/embedding", 2)
    max_length, _ = shape("text_model/embeddings/position_embedding/embedding", 2)
    try:
        return CLIPConfig(
            vision=VisionConfig(
                image_size=patch * round(max(places - 1, 0) ** 0.5),
                patch_size=patch,
                **_widths(shape, "vision_model", layers("vision_model")),
            ),
            text=TextEncoderConfig(
                vocab_size=vocab_size,
                max_length=max_length,
                eos_token_id=vocab_size - 1,
                **_widths(shape, "text_model", layers("text_model")),
            ),
            num_features=shape("text_projection/kernel", 2)[1],
        )
    except UserError as error:
        raise UserError(f"{name} is not a CLIP of this kind: {error}") from error


def _widths(
    shape: Callable[[str, int], tuple[int, ...]], tower: str, num_layers: int
) -> dict[str, Any]:
    hidden, intermediate = shape(f"{tower}/encoder/layers_0/mlp/fc1/kernel", 2)
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_layers": num_layers,
        "num_heads": hidden // _HEAD,
    }
