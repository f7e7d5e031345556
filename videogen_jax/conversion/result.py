"""The tokenizer of a converted model, and the check that a converted model loads and samples."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.samplers import plan
from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.models.components import check_components
from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig
from videogen_jax.tokenizer import Tokenizer, load_tokenizer
from videogen_jax.trees import unflatten
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.files import SafeTensors
from videogen_jax.weights.model_dir import list_components
from videogen_jax.weights.stable_diffusion.tokenizer_files import copy_tokenizer

_CONFIG, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"


def write_tokenizer(
    source: Path, target: Path, text: TextEncoderConfig, pad_id: int | None
) -> tuple[str, ...]:
    """Copies a tokenizer, completed so that it fits the text encoder.

    Args:
        source: Folder of its files.
        target: New folder.
        text: The text encoder. Its length is taken if the tokenizer states none, or a longer one.
        pad_id: The token that pads texts in the text encoder's training; None for the files' own.

    Returns:
        A line for each change of the files.

    Raises:
        UserError: The tokenizer cannot be loaded, or does not pad with `pad_id` after the change.
    """
    copy_tokenizer(source, target)
    notes = []
    length = read_json_object(target / _CONFIG, "tokenizer file").get("model_max_length")
    if type(length) is not int or not 2 <= length <= text.max_length:
        _set(target / _CONFIG, "model_max_length", text.max_length)
        notes.append(
            f"model_max_length of the tokenizer is {length}: the text encoder's, "
            f"{text.max_length}, takes its place"
        )
    tokenizer = _load(target, source)
    if pad_id is not None and tokenizer.pad_id != pad_id:
        token = tokenizer.token(pad_id)
        for name in (_CONFIG, _SPECIAL):
            if (target / name).is_file():
                _set(target / name, "pad_token", token)
        notes.append(
            f"the tokenizer pads with {tokenizer.token(tokenizer.pad_id)!r}: {token!r} takes its "
            "place, with which this text encoder was trained"
        )
        if _load(target, source).pad_id != pad_id:
            raise UserError(f"{source} cannot be changed to pad with {token!r}")
    return tuple(notes)


def _load(target: Path, source: Path) -> Tokenizer:
    """Loads the copy of a tokenizer; errors name its source."""
    try:
        return load_tokenizer(target)
    except UserError as error:
        raise UserError(str(error).replace(str(target), str(source))) from error


def _set(path: Path, name: str, value: Any) -> None:
    content = {**read_json_object(path, "tokenizer file"), name: value}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_model(directory: Path) -> None:
    """Raises unless a written model directory loads and can encode an empty prompt and sample.

    Only shapes are computed.

    Raises:
        MissingFile: A file is missing.
        UserError: A file is damaged or does not fit the others; names it.
    """
    config = load_config(directory / "config.json", ModelConfig)
    check_samplers(config)
    check_components(
        config, {name: _shapes(directory, name) for name in list_components(directory)}
    )
    if (directory / "tokenizer").is_dir():
        check_tokenizer(load_tokenizer(directory / "tokenizer"), config.text_encoder)


def check_samplers(config: ModelConfig) -> None:
    """Raises UserError unless every sampler can take its number of steps."""
    for part in (config.image, *config.stages, config.refiner):
        plan(part.schedule, part.sampler)


def check_tokenizer(tokenizer: Tokenizer, text: TextEncoderConfig) -> None:
    """Raises UserError unless the text encoder takes the tokens of an empty prompt."""
    if problem := tokenizer.misfit(text.vocab_size, text.eos_token_id):
        raise UserError(problem)
    tokens_BT = tokenizer([""], text.max_length)
    encoder = TextEncoder(text)
    jax.eval_shape(partial(encoder.init_with_output, jax.random.key(0)), tokens_BT)


def _shapes(directory: Path, name: str) -> dict[str, Any]:
    tensors = SafeTensors(directory / f"{name}.safetensors")
    return unflatten(
        {path: jax.ShapeDtypeStruct(tensors.shape(path), np.float32) for path in tensors}
    )
