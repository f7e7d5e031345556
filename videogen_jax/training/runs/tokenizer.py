"""The tokenizer of a run's model directory; a new directory receives that of the shapes."""

import logging
from pathlib import Path

from videogen_jax.atomic import replacing
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile
from videogen_jax.paths import copy_folder
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.tokenizer import Tokenizer, load_tokenizer
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.vocabulary import END_TOKEN, read_vocab

_log = logging.getLogger(__name__)

_SHIPPED = "shapes"  # the model whose tokenizer ships, which knows the captions of the shapes


def tokenizer_of(model: ModelConfig, directory: Path) -> Tokenizer:
    """Loads the tokenizer of a model directory.

    If the directory has neither a tokenizer nor a text encoder, and the shipped tokenizer has the
    vocabulary of `model`, as it has that of the presets `shapes` and `tiny`, it is copied there.

    Args:
        model: configuration of the run's model.
        directory: the model directory; need not exist.

    Raises:
        MissingFile: there is no tokenizer, and the shipped one is not that of `model`.
        UserError: a file is damaged, or the directory cannot be written.
    """
    target = directory / "tokenizer"
    if target.exists():
        return load_tokenizer(target)
    source = find_model(_SHIPPED) / "tokenizer"
    if (directory / "text_encoder.safetensors").exists() or not _fits(source, model):
        raise MissingFile(
            f"{target}: the model directory has no tokenizer, and the text encoder of the model "
            f"{model.name!r} needs its own; `videogen convert stable-diffusion` writes a model "
            "directory with one"
        )
    if is_main():
        with replacing(target) as temporary:
            copy_folder(source, temporary)
        _log.info("%s: copied the tokenizer of the shapes' captions", target)
    return load_tokenizer(source)


def _fits(tokenizer: Path, model: ModelConfig) -> bool:
    text_encoder, vocab = model.text_encoder, read_vocab(tokenizer)
    expected = text_encoder.vocab_size, text_encoder.eos_token_id
    return (len(vocab), vocab[END_TOKEN]) == expected
