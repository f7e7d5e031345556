"""Trains an image model of other sizes, from a configuration file.

    python examples/own_sizes.py --steps 200

`own_sizes.json` has only the fields that differ from the preset `shapes-image`. The text encoder
and the autoencoder are those of the model that ships, which stay frozen. On the command line the
same run is `videogen train text-to-image shapes-image --config examples/own_sizes.json`, with the
folders that this program makes. Stages and other parts train in the same way (docs/training.md).
"""

from dataclasses import replace
from pathlib import Path

import tyro

from videogen_jax import VideoGen
from videogen_jax.cli import showing_log
from videogen_jax.configs import RUNS
from videogen_jax.pipeline.model_files import save_model
from videogen_jax.training.runs.config import load_run
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run

FROZEN = ("text_encoder", "autoencoder")


def main(
    run_dir: Path = Path("runs/mine"),
    model_dir: Path = Path("runs/mine-model"),
    config: Path = Path(__file__).with_suffix(".json"),
    steps: int = 200,
) -> None:
    """Trains, exports and samples an image model; the same line resumes.

    Args:
        run_dir: folder of the run.
        model_dir: the model directory to make.
        config: fields that replace those of the preset.
        steps: steps to train; a few hundred are too few for good pictures.
    """
    run = replace(load_run(config, RUNS["shapes-image"]), steps=steps)
    if not model_dir.exists():
        shipped = VideoGen.load("shapes")
        frozen = {name: shipped.params[name] for name in FROZEN}
        save_model(model_dir, run.model, shipped.tokenizer, frozen)
    with showing_log():
        train_run(run, run_dir, model_dir)
    print(export_run(run_dir, model_dir))
    print(VideoGen.load(model_dir))


if __name__ == "__main__":
    tyro.cli(main)
