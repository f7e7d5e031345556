"""The library's models, by name, and their training runs, by name `<model>-<part>`.

The file of each model has every value that it sets: `paper`, `small`, `shapes`, `tiny`.
"""

from videogen_jax.config import ModelConfig
from videogen_jax.configs import paper, shapes, small, tiny
from videogen_jax.configs.shapes import ABLATIONS
from videogen_jax.training.runs.config import RunConfig

__all__ = ["ABLATIONS", "MODELS", "RUNS", "runs_of"]

MODELS: dict[str, ModelConfig] = {
    "paper": paper.PAPER,
    "small": small.SMALL,
    "shapes": shapes.SHAPES,
    "tiny": tiny.TINY,
}

RUNS: dict[str, RunConfig] = shapes.RUNS | tiny.RUNS | small.RUNS | paper.RUNS
"""All runs by name: for each model, in the order in which they train, then its ablations."""


def runs_of(command: str) -> dict[str, RunConfig]:
    """Returns the runs that a training command offers, such as "cascade", by name."""
    return {name: config for name, config in RUNS.items() if config.task.command == command}
