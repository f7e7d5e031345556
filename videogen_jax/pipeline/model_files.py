"""Reading and writing model directories."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax

from videogen_jax.atomic import replacing, require_new_directory
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.home import expand_home
from videogen_jax.models.components import check_components, load_components, open_components
from videogen_jax.paths import as_path, copy_folder, is_remote, require_reachable
from videogen_jax.pipeline.denoise import Params
from videogen_jax.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from videogen_jax.weights.model_dir import DType

_CONVERT = "`videogen convert stable-diffusion SOURCE MODEL_DIR` makes a model directory of it"
_ASSETS = Path(__file__).parent.parent / "assets"


class Model(NamedTuple):
    """The contents of a model directory; `params` has the components that are present."""

    directory: Path
    config: ModelConfig
    tokenizer: Tokenizer
    params: dict[str, Params]


def load_model(model: str | Path, dtype: "DType" = "float32", *, stored: bool = False) -> Model:
    """Reads a shipped model by its name, or a model directory.

    Args:
        model: its name or directory, which may be the URL of a folder in a bucket.
        dtype: type of the floating-point parameters.
        stored: whether parameters are only opened (`open_components`), in float32, in place of
            being read into memory.

    Raises:
        MissingFile: there is no such model (lists the shipped ones), or its configuration or
            tokenizer is missing.
        UserError: a file is damaged, has an unknown field, or does not fit the configuration;
            names it.
    """
    from videogen_jax.weights.manifest import check_files

    directory, config = read_model_config(model)
    check_files(directory)
    tokenizer = load_tokenizer(directory / "tokenizer")
    if stored:
        return Model(directory, config, tokenizer, open_components(directory, config))
    return Model(directory, config, tokenizer, load_components(directory, config, dtype))


def read_model_config(model: str | Path) -> tuple[Path, ModelConfig]:
    """Returns the directory of a model and its configuration, without reading its weights.

    Args:
        model: name of a shipped model, or a model directory.

    Raises:
        MissingFile: there is no such model (lists the shipped ones), or its configuration is
            missing.
        UserError: the configuration is damaged or has an unknown field; names it.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.config_file import load_config

    directory = find_model(model)
    path = directory / "config.json"
    if not path.is_file() and (directory / "model_index.json").is_file():
        raise MissingFile(f"{directory} is a folder of diffusers; {_CONVERT}")
    if run := _run_directory(directory):
        raise UserError(
            f"{directory} is the run directory of a training, not a model directory; "
            f"`videogen export {run} MODEL_DIR` writes its result to one"
        )
    return directory, load_config(path, ModelConfig)


def _run_directory(directory: Path) -> Path | None:
    """Returns the run directory that `directory` is, or is a checkpoint of; None for others."""
    from videogen_jax.weights.config_file import read_json

    for folder in (directory, *directory.absolute().parents[:2]):
        path = folder / "config.json"
        if path.is_file():
            content = read_json(path)
            is_run = isinstance(content, dict) and {"model", "task", "steps"} <= content.keys()
            return folder if is_run else None
    return None


def save_model(
    directory: str | Path,
    config: ModelConfig,
    tokenizer: Tokenizer,
    params: Mapping[str, Params],
    dtype: "DType | None" = None,
) -> None:
    """Writes a model directory that `load_model` reads. The write is atomic.

    Args:
        directory: must not exist or must be empty.
        config: the configuration.
        tokenizer: its folder must still exist, and is copied.
        params: some or all components of `config`.
        dtype: dtype of the weights on disk; None keeps the dtype of each.

    Raises:
        UserError: `directory` exists and is not empty, or cannot be written; or `params` do not fit
            `config`, or have values that are not finite in `dtype`; names them all.
        MissingFile: the tokenizer's folder no longer exists.
    """
    from videogen_jax.weights.config_file import save_config
    from videogen_jax.weights.manifest import MANIFEST, record_files
    from videogen_jax.weights.model_dir import save_component

    directory = as_path(directory)
    require_reachable(directory)
    require_new_directory(directory)
    check_components(config, params)
    if not tokenizer.directory.is_dir():
        raise MissingFile(f"no {tokenizer.directory}, which the tokenizer was loaded from")
    with replacing(directory, last=MANIFEST) as temporary:
        for name, component in params.items():
            save_component(temporary, name, jax.device_get(component), dtype)
        copy_folder(tokenizer.directory, temporary / "tokenizer")
        save_config(temporary / "config.json", config)
        record_files(temporary)


def is_shipped(directory: str | Path) -> bool:
    """Returns whether a directory is that of a shipped model, or within one."""
    return not is_remote(directory) and (
        Path(directory).resolve().is_relative_to(_ASSETS.resolve())
    )


def find_model(model: str | Path) -> Path:
    """Returns the directory of a shipped model or of the user's; shipped names come first.

    Raises:
        MissingFile: there is no such model; lists the shipped ones.
    """
    shipped = sorted(path.parent.name for path in _ASSETS.glob("*/config.json"))
    if model in shipped:
        return _ASSETS / model
    directory = expand_home(model)
    require_reachable(directory)
    if not directory.is_dir():
        is_weights = directory.suffix.lower() in (".ckpt", ".safetensors", ".pt", ".pth", ".bin")
        is_hub_id = str(model).count("/") == 1 and str(model)[0] not in "./~"
        raise MissingFile(
            f"no model {str(model)!r}: expected a model directory or one of the "
            f"shipped models: {', '.join(shipped) or 'none'}"
            + (f"; {_CONVERT}" if is_weights or is_hub_id else "")
        )
    return directory
