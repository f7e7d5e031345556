"""Trains the parts on the material: `python -m benchmarks.real_clips.train OUT [PART ...]`.

Run it again to resume. Every part is a run directory in OUT/runs; finished parts are in OUT/model.
"""

import shutil
from pathlib import Path

import tyro

from benchmarks.real_clips.model import TEACHER, caches, runs
from benchmarks.real_clips.translation import FLOWS
from videogen_jax.cli import showing_log
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.training.latents.making import make_cache
from videogen_jax.training.runs.export import copy_tokenizer, export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.weights.configured import add_configured
from videogen_jax.weights.model_dir import load_component, save_component


def train(name: str, out: Path) -> None:
    """Trains a part, or continues with it, and puts it into its model directory."""
    config, run_dir, model = runs(out)[name], out / "runs" / name, out / "model"
    done = run_dir / "exported"
    if done.exists():
        return
    if config.data.latent_cache:
        cache = Path(config.data.latent_cache)
        dataset, options = caches(out)[cache.name]
        make_cache(str(dataset), model, cache, options)
    state = train_run(config, run_dir, model, model_from="dir")
    if name == "teacher":
        add_configured(out / "teacher", PIXEL_FLOW_COMPONENT, TEACHER, state.ema, None)
    elif name in FLOWS.values():  # each in a model of its own
        shutil.copytree(model, out / name, dirs_exist_ok=True)
        export_run(run_dir, out / name)
    else:
        export_run(run_dir, model)
    done.touch()


def main(out: tyro.conf.Positional[Path], /, *parts: tyro.conf.Positional[str]) -> None:
    """Trains the parts that are named, or all, in order.

    Args:
        out: folder of `benchmarks.real_clips.material`.
        parts: names of runs in `benchmarks.real_clips.model`.
    """
    enable_compilation_cache()
    shapes = find_model("shapes")
    copy_tokenizer(shapes / "tokenizer", out / "model")
    # The refiner is conditioned on the empty prompt alone: any text encoder will do.
    save_component(out / "model", "text_encoder", load_component(shapes, "text_encoder"))
    with showing_log():
        for name in parts or runs(out):
            train(name, out)


if __name__ == "__main__":
    tyro.cli(main)
