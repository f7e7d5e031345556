"""The models that come with the library and their runs of training, by name: `<model>-<part>`.

A file for each model has every value that it sets: `paper`, `small`, `shapes`, `tiny`.
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
"""Every run by name, those of one model in the order in which they train, then its ablations."""


def runs_of(command: str) -> dict[str, RunConfig]:
    """The runs that a training command offers, such as "cascade", by name."""
    return {name: config for name, config in RUNS.items() if config.task.command == command}
