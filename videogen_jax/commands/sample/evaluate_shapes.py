"""Evaluates a shapes model: `videogen evaluate-shapes --model shapes --prompts 64`."""

from functools import partial
from pathlib import Path

from videogen_jax import VideoGen
from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.evaluation.shapes.report import evaluate_shapes


def main(
    model: str = "shapes",
    prompts: int = 64,
    seed: int = 1000,
    out: Path = Path("outputs/evaluation"),
) -> None:
    """Prints how often videos of held-out prompts show the prompt's colour, shape and motion.

    Args:
        model: name of a shipped model, or a model directory.
        prompts: number of prompts.
        seed: seed of the noise.
        out: folder for contact sheets of the first 12 videos.
    """
    enable_compilation_cache()
    print(evaluate_shapes(VideoGen.load(model), prompts, seed, out).table())


call = partial(command, main)
