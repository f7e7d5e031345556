"""Prints the tables of the paper's ablations on the shapes: `videogen ablations`."""

from functools import partial
from pathlib import Path

from videogen_jax import VideoGen
from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.evaluation.shapes.ablation_sheets import save_ablation_sheets
from videogen_jax.evaluation.shapes.ablations import (
    decoder_table,
    interpolation_table,
    reference_table,
)
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.weights.model_dir import DType


def main(
    model: str = "shapes",
    without_reference: Path = Path("runs/ablations/no-reference"),
    slerp_refiner: Path = Path("runs/ablations/slerp"),
    prompts: int = 256,
    clips: int = 64,
    seeds: tuple[int, ...] = (1000, 2000, 3000),
    out: Path = Path("outputs/ablations"),
    dtype: DType = "float32",
) -> None:
    """Prints Table 3 (reference image), Fig. 6 (flow) and Fig. 7 (video decoder) as tables.

    Args:
        model: name of a shipped model, or a model directory.
        without_reference: model directory whose stages were trained without a reference.
        slerp_refiner: model directory whose refiner was trained on frames interpolated by slerp.
        prompts: number of held-out captions in the first table.
        clips: number of held-out clips in the other two.
        seeds: seeds of the noise in the first table; the first one also in the other two.
        out: folder for contact sheets of a few clips of each variant.
        dtype: floating-point type of the parameters and of the networks' computation.
    """
    enable_compilation_cache()
    directories = (model, without_reference, slerp_refiner)
    whole, without, slerp = (VideoGen.load(one, dtype=dtype) for one in directories)
    refiners: dict[Interpolation, VideoGen] = {"slerp": slerp, "flow": whole}
    save_ablation_sheets(whole, without, refiners, out, seeds[0])
    print(reference_table(whole, without, prompts, seeds), end="\n\n")
    print(interpolation_table(whole, clips, seeds[0], refiners), end="\n\n")
    print(decoder_table(whole, clips, seeds[0]))


call = partial(command, main)
