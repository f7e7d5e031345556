"""Training all parts of the shipped model in order (`make train-shapes`), and its ablations.

Each part is a run of `configs/shapes.py` in a folder of its own. When it is done, it is exported to
the model directory and compared with its gate. A part that has passed is skipped, and an unfinished
one continues.
"""

import dataclasses
import logging
import shutil
from pathlib import Path

from videogen_jax.atomic import replacing
from videogen_jax.configs import ABLATIONS, RUNS
from videogen_jax.errors import UserError
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.latents.config import SHAPES
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.export import copy_tokenizer, export_run
from videogen_jax.training.runs.shapes_gates import check_gate
from videogen_jax.training.runs.train import train_run
from videogen_jax.weights.model_dir import component_sha256, list_components

_log = logging.getLogger(__name__)

# By component: the latent cache that it trains from and the number of clips in it. The caches take
# about 1.5 GB in float16, including the text states.
CACHES = {
    "image_unet": ("latents-images", 48_000),
    "stage_1": ("latents-clips", 6_000),
    "stage_2": ("latents-clips", 6_000),
    "refiner": ("latents-high-fps", 3_000),
}

_RETRAINED = [name for names in ABLATIONS.values() for name in names]
PARTS = tuple(
    name for name, run in RUNS.items() if run.model.name == "shapes" and name not in _RETRAINED
)


def train_shapes(directory: Path, tokenizer: Path) -> Path:
    """Trains the parts that are not trained yet.

    Args:
        directory: receives a run directory per part, the latent caches, and `model/`.
        tokenizer: folder of the tokenizer files of the model.

    Returns:
        The model directory.

    Raises:
        UserError: a part does not pass its gate.
    """
    model = directory / "model"
    load_tokenizer(tokenizer)
    copy_tokenizer(tokenizer, model)
    for name in PARTS:
        _train_part(name, directory, model)
        passed = directory / name / "passed"
        if not passed.exists():
            check_gate(name, directory / name, model)
            passed.touch()
    _log.info("%s: %s", model, ", ".join(list_components(model)))
    return model


def train_ablations(model: str | Path, directory: Path) -> None:
    """Retrains the parts that differ in the ablations of Table 3 and Fig. 6.

    Args:
        model: the model of the ablations: a shipped name or a model directory.
        directory: receives a run directory per part, the latent caches of those parts, and the
            models `no-reference/` and `slerp/`: copies of `model` with the retrained parts.

    Raises:
        MissingFile: there is no such model.
        UserError: `directory` has ablations of another model; the message names the component that
            differs.
    """
    source = find_model(model)
    for ablation, names in ABLATIONS.items():
        copy = directory / ablation
        if not copy.exists():
            with replacing(copy) as temporary:
                shutil.copytree(source, temporary)
        _check_copy(copy, source, {RUNS[name].task.component() for name in names})
        for name in names:
            _train_part(name, directory, copy)
        _log.info("%s: %s", copy, ", ".join(names))


def _check_copy(copy: Path, source: Path, retrained: set[str]) -> None:
    for name in sorted(set(list_components(source)) - retrained):
        if component_sha256(copy, name) != component_sha256(source, name):
            raise UserError(
                f"{copy}: its {name} is not that of {source}; these are ablations of another "
                "model, expected a directory without them"
            )


def _train_part(name: str, directory: Path, model: Path) -> None:
    exported = directory / name / "exported"
    if exported.exists():
        return
    config = _with_cache(RUNS[name], directory, model)
    train_run(config, directory / name, model, model_from="dir")
    components = export_run(directory / name, model)
    exported.write_text("\n".join(components) + "\n")


def _with_cache(config: RunConfig, directory: Path, model: Path) -> RunConfig:
    """Returns the run with cached latents, if its part has a cache; makes missing parts of it."""
    if config.task.component() not in CACHES:
        return config
    name, clips = CACHES[config.task.component()]
    cache, data = directory / name, config.data
    options = CacheOptions(
        num_frames=data.num_frames,
        resolution=data.resolution,
        fps=data.fps,
        dtype="float16",
        examples=clips,
    )
    make_cache(SHAPES, model, cache, options)
    data = dataclasses.replace(data, latent_cache=str(cache), examples=clips)
    return dataclasses.replace(config, data=data)
