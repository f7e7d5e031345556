"""The components of a model: what parameters each has, fresh ones, and those of a directory."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models import parameters
from videogen_jax.models.parameters import Params

# A text-to-image model: what Stable Diffusion gives.
IMAGE_COMPONENTS = ("text_encoder", "image_unet", "autoencoder")


def component_shapes(config: ModelConfig, *names: str) -> dict[str, Params]:
    """The parameters of components as `jax.ShapeDtypeStruct`, by name; of all by default."""
    inits = _inits(config)
    return {name: parameters.shapes(*inits[name]) for name in names or inits}


def init_components(config: ModelConfig, key: jax.Array) -> dict[str, Params]:
    """Fresh parameters of every component, float32, as training starts from without warm start."""
    return {
        name: _init(entry, jax.random.fold_in(key, number))
        for number, (name, entry) in enumerate(_inits(config).items())
    }


def init_leaves(
    config: ModelConfig, name: str, key: jax.Array, paths: tuple[str, ...]
) -> dict[str, jax.Array]:
    """Some of the fresh parameters of one component, by path: those `init_components` gives it."""
    inits = _inits(config)
    return _init_some(inits[name], paths, jax.random.fold_in(key, list(inits).index(name)))


def check_components(config: ModelConfig, params: Mapping[str, Params]) -> None:
    """Raises UserError unless each of `params` is a component and fits the configuration."""
    shapes = component_shapes(config)
    if unknown := sorted(params.keys() - shapes.keys()):
        raise UserError(
            f"no components of a model: {', '.join(unknown)}; expected: {', '.join(shapes)}"
        )
    for name, component in params.items():
        if lines := trees.differences(shapes[name], component).lines():
            message = f"the parameters of {name} do not fit the configuration:"
            raise UserError("\n".join([message, *lines]))


def require_components(
    params: Mapping[str, Params], needed: Mapping[str, str], directory: Path | None
) -> None:
    """Raises MissingFile for a component that is needed and not there.

    Args:
        params: what is there.
        needed: what each component is needed for.
        directory: where `params` were read from, if they were.
    """
    for name, what in needed.items():
        if name not in params:
            where = "the parameters" if directory is None else str(directory)
            raise MissingFile(f"{where}: there is no {name}.safetensors, which {what} needs")


def load_components(directory: Path, config: ModelConfig) -> dict[str, Params]:
    """The components that a model directory has, each checked against the configuration.

    A component may be absent, since not every call needs every one; a call that does says so.

    Raises:
        MissingFile: there is no such directory.
        UserError: a file is damaged or does not fit the configuration; names it.
    """
    # Here, so that `import videogen_jax` needs no safetensors.
    from videogen_jax.weights import model_dir

    present = model_dir.list_components(directory)
    params = {}
    for name, entry in _inits(config).items():
        if name in present:
            params[name] = model_dir.load_component(directory, name)
            shapes = parameters.shapes(*entry)
            model_dir.check_against(shapes, params[name], directory / f"{name}.safetensors")
    return params


# How a component is initialised: a function of a key and of the sizes that follow it.
Init: TypeAlias = tuple[Any, ...]


@functools.partial(jax.jit, static_argnums=0)
def _init(entry: Init, key: jax.Array) -> Params:
    function, *sizes = entry
    return function(key, *sizes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init_some(entry: Init, paths: tuple[str, ...], key: jax.Array) -> dict[str, jax.Array]:
    function, *sizes = entry
    leaves = trees.flatten(function(key, *sizes))  # the others are dead code to the compiler
    return {path: leaves[path] for path in paths}


def _inits(config: ModelConfig) -> dict[str, Init]:
    width = config.text_encoder.hidden_size
    stages = {
        f"stage_{i}": (parameters.init_unet, stage.unet, width)
        for i, stage in enumerate(config.stages, start=1)
    }
    return {
        "text_encoder": (parameters.init_text_encoder, config.text_encoder),
        "image_unet": (parameters.init_unet, config.image.unet, width),
        "autoencoder": (parameters.init_autoencoder, config.autoencoder),
        **stages,
        "flow": (parameters.init_flow, config.flow),
        "refiner": (parameters.init_unet, config.refiner.unet, width),
        "video_decoder": (parameters.init_video_decoder, config.autoencoder),
    }
