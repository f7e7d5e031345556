"""Trains the paper's ablations of a shapes model: `videogen train ablations`; again to resume."""

from functools import partial
from pathlib import Path

from videogen_jax.cli import command, enable_compilation_cache
from videogen_jax.training.runs.shapes_model import train_ablations


def main(model: str = "shapes", directory: Path = Path("runs/ablations")) -> None:
    """Trains both stages without a reference (Table 3) and the refiner of slerp (Fig. 6).

    Each with the budget of the part that it is held against, for the command `ablations`.

    Args:
        model: name of a model that ships, or a model directory.
        directory: gets a run directory per part, latent caches, and the models `no-reference/` and
            `slerp/`; that of `train shapes` has the caches of its model.
    """
    enable_compilation_cache()
    train_ablations(model, directory)


call = partial(command, main)
