"""The components of a model: shapes, initialisation, checks and loading of their parameters."""

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models import parameters
from videogen_jax.models.parameters import Params

if TYPE_CHECKING:
    from videogen_jax.weights.model_dir import DType

# The components of a text-to-image model, which Stable Diffusion provides.
IMAGE_COMPONENTS = ("text_encoder", "image_unet", "autoencoder")


def component_names(config: ModelConfig) -> tuple[str, ...]:
    """Returns the names of a model's components, in the order in which they train."""
    return tuple(_inits(config))


def component_shapes(config: ModelConfig, *names: str) -> dict[str, Params]:
    """Returns components' parameters as `jax.ShapeDtypeStruct`, by name; by default of all."""
    inits = _inits(config)
    return {name: parameters.shapes(*inits[name]) for name in names or inits}


def init_components(config: ModelConfig, key: jax.Array) -> dict[str, Params]:
    """Initialises the parameters of every component, float32, for training without warm start."""
    return {
        name: _init(entry, jax.random.fold_in(key, number))
        for number, (name, entry) in enumerate(_inits(config).items())
    }


def init_leaves(
    config: ModelConfig, name: str, key: jax.Array, paths: tuple[str, ...]
) -> dict[str, jax.Array]:
    """Returns some of the parameters that `init_components` gives one component, by path."""
    inits = _inits(config)
    return _init_some(inits[name], paths, jax.random.fold_in(key, list(inits).index(name)))


def check_components(config: ModelConfig, params: Mapping[str, Params]) -> None:
    """Raises UserError unless each of `params` is a component and fits the configuration."""
    known = _inits(config)
    if unknown := sorted(params.keys() - known.keys()):
        raise UserError(f"unknown components: {', '.join(unknown)}; expected: {', '.join(known)}")
    shapes = component_shapes(config, *params) if params else {}  # no names are all components
    for name, component in params.items():
        if lines := trees.differences(shapes[name], component).lines():
            message = f"the parameters of {name} do not fit the configuration:"
            raise UserError("\n".join([message, *lines]))


def require_components(
    params: Collection[str], needed: Mapping[str, str], directory: Path | None
) -> None:
    """Raises MissingFile if a needed component is missing.

    Args:
        params: the components that are present, or their names.
        needed: the needed components, with the reason for each.
        directory: where `params` were read from, or None.
    """
    for name, what in needed.items():
        if name not in params:
            where = "the parameters" if directory is None else str(directory)
            message = f"{where}: there is no {name}.safetensors, which {what} needs"
            if name == "stage_1" and set(IMAGE_COMPONENTS) <= set(params):
                message += (
                    "; it is an image model, for `videogen image` and VideoGen.images, "
                    "whose stages `videogen train cascade` trains (docs/training.md)"
                )
            raise MissingFile(message)


def load_components(
    directory: Path, config: ModelConfig, dtype: "DType" = "float32"
) -> dict[str, Params]:
    """Loads the components of a model directory and checks each against the configuration.

    Components may be missing, since not every call needs all; see `require_components`.

    Args:
        directory: the model directory.
        config: its configuration.
        dtype: type of the returned floating-point arrays.

    Raises:
        MissingFile: there is no such directory.
        UserError: a file is damaged, does not fit the configuration, or has numbers that `dtype`
            cannot hold; names it.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.model_dir import load_component

    check_finite = dtype == "float16"  # the largest weight of float32 is beyond its range
    return _checked(
        directory,
        config,
        lambda name: load_component(directory, name, dtype, check_finite=check_finite),
    )


def open_components(directory: Path, config: ModelConfig) -> dict[str, Params]:
    """Does what `load_components` does, with tensors that are read when they are indexed.

    Their leaves are `StoredTensor`, from which `sharding.put_tree` reads each device's part.
    """
    from videogen_jax.weights.model_dir import open_component

    return _checked(directory, config, lambda name: open_component(directory, name))


def _checked(
    directory: Path, config: ModelConfig, read: Callable[[str], Params]
) -> dict[str, Params]:
    from videogen_jax.weights import model_dir

    present = model_dir.list_components(directory)
    params = {}
    for name, entry in _inits(config).items():
        if name in present:
            params[name] = read(name)
            shapes = parameters.shapes(*entry)
            model_dir.check_against(shapes, params[name], directory / f"{name}.safetensors")
    return params


# An initialiser of a component: a function and its arguments after the key.
Init: TypeAlias = tuple[Any, ...]


@functools.partial(jax.jit, static_argnums=0)
def _init(entry: Init, key: jax.Array) -> Params:
    function, *sizes = entry
    return function(key, *sizes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init_some(entry: Init, paths: tuple[str, ...], key: jax.Array) -> dict[str, jax.Array]:
    function, *sizes = entry
    leaves = trees.flatten(function(key, *sizes))  # the compiler removes the others as dead code
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
