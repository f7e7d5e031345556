"""Trains all parts of the shipped model: `videogen train shapes`; run it again to resume."""

from functools import partial
from pathlib import Path

from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.training.runs.shapes_model import train_shapes

TOKENIZER = find_model("shapes") / "tokenizer"


def main(directory: Path = Path("runs/shapes"), tokenizer: Path = TOKENIZER) -> None:
    """Trains autoencoder, text encoder, image model, cascade, temporal SR and video decoder.

    Args:
        directory: folder for a run directory per part, and the finished model in `model/`.
        tokenizer: folder of tokenizer files, as `tokenizer` writes it.
    """
    enable_compilation_cache()
    train_shapes(directory, tokenizer)


call = partial(command, main)
