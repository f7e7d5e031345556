"""Components with a configuration of their own: `NAME.json` beside `NAME.safetensors`.

They are networks that sampling does not use, such as a teacher or a loss. A directory may have such
a component alone, and a model's `config.json` has no part for it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.trees import Tree
from videogen_jax.weights.config_file import load_config, save_config
from videogen_jax.weights.manifest import record_files
from videogen_jax.weights.model_dir import (
    DType,
    check_against,
    list_components,
    load_component,
    save_component,
)

Config = TypeVar("Config")


def require_absent(directory: Path, name: str) -> None:
    """Raises UserError if the directory exists and has this component already."""
    present = list_components(directory) if directory.is_dir() else []
    if name in present or _config_file(directory, name).exists():
        raise UserError(f"{directory} has a {name} already")


def add_configured(
    directory: Path, name: str, config: Any, params: Tree, dtype: DType | None
) -> None:
    """Adds a component and its configuration to a directory, which is created if necessary.

    Args:
        directory: Model directory. A new one appears only when it is complete.
        name: Name of the component.
        config: Frozen dataclass, the network's configuration.
        params: Nested dict of arrays.
        dtype: Type of the floating-point tensors on disk; None keeps each as it is.

    Raises:
        UserError: The directory has the component already or cannot be written, or tensors are not
            finite.
    """
    require_absent(directory, name)
    if directory.is_dir():
        _save(directory, name, config, params, dtype)
    else:
        with replacing(directory) as temporary:
            _save(temporary, name, config, params, dtype)


def load_configured(
    directory: Path, name: str, cls: type[Config], shapes: Callable[[Config], Tree]
) -> tuple[Config, dict[str, Any]]:
    """Loads what `add_configured` wrote: the configuration and the float32 parameters.

    Args:
        directory: Model directory.
        name: Name of the component.
        cls: Class of the configuration.
        shapes: Maps a configuration to the network's parameters as `jax.ShapeDtypeStruct`s.

    Raises:
        MissingFile: The directory does not have the component.
        UserError: A file is damaged, or the two do not fit together.
    """
    params = load_component(directory, name)
    config = load_configuration(directory, name, cls)
    check_against(shapes(config), params, directory / f"{name}.safetensors")
    return config, params


def load_configuration(directory: Path, name: str, cls: type[Config]) -> Config:
    """Loads the configuration that `add_configured` wrote, without the parameters.

    Raises:
        MissingFile: The directory does not have the component.
        UserError: The file is damaged.
    """
    return load_config(_config_file(directory, name), cls)


def _config_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.json"


def _save(directory: Path, name: str, config: Any, params: Tree, dtype: DType | None) -> None:
    """Writes the configuration, then the component, whose file marks it as present."""
    file = _config_file(directory, name)
    save_config(file, config)
    try:
        save_component(directory, name, params, dtype)
    except ValueError:
        file.unlink()
        raise
    record_files(directory)
