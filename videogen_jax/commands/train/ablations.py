"""Trains the ablations of a shapes model: `videogen train ablations`; run it again to resume."""

from functools import partial
from pathlib import Path

from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.training.runs.shapes_model import train_ablations


def main(model: str = "shapes", directory: Path = Path("runs/ablations")) -> None:
    """Trains both stages without a reference (Table 3) and the refiner on slerp (Fig. 6).

    Each is trained for as long as the model's own part that `ablations` compares it with.

    Args:
        model: name of a shipped model, or a model directory.
        directory: folder for a run directory per part, latent caches, and the models
            `no-reference/` and `slerp/`; the directory of `train shapes` already has the caches of
            its model.
    """
    enable_compilation_cache()
    train_ablations(model, directory)


call = partial(command, main)
