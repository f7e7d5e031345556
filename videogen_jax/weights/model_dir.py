"""The components of a model directory: one safetensors file each, with checksums in a manifest.

model/
  config.json               the configuration tree (`config_file`)
  manifest.json             {"stage_1": {"bytes": 7340032, "sha256": "9f86d0..."}, ...} (`manifest`)
  stage_1.safetensors       tensors named by parameter path: "conv_in/kernel"
  tokenizer/                files in CLIP's format

A directory may be in a bucket. Its components are then copied to this machine when they are read
(`paths.local_copy`): their checksums need every byte, and parts of them are mapped into memory.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from videogen_jax import trees
from videogen_jax.atomic import replacing
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path, local_copy
from videogen_jax.weights.files import SafeTensors
from videogen_jax.weights.manifest import (
    SUFFIX,
    describe,
    read_manifest,
    verify,
    without_checksum,
    write_manifest,
)
from videogen_jax.weights.stored import StoredTensor

DType = Literal["float32", "bfloat16", "float16"]
PathLike = str | os.PathLike[str]


def save_component(
    directory: PathLike, name: str, params: trees.Tree, dtype: DType | None = None
) -> None:
    """Writes `params` as `directory/name.safetensors` and records its checksum.

    The write is atomic. The manifest is written afterwards: a crash between the two leaves a
    component that fails its check at loading, not a stale one.

    Args:
        directory: created if it does not exist.
        name: name of the component, such as "stage_1".
        params: nested dict of arrays.
        dtype: type of the floating-point tensors on disk; None keeps each as it is.

    Raises:
        UserError: tensors contain NaN or infinity, before or after the cast to `dtype` (lists them
            all), or the directory cannot be written.
    """
    directory = as_path(directory)
    arrays = {
        path: np.asarray(_cast(np.asarray(leaf), dtype), order="C")
        for path, leaf in trees.flatten(params).items()
    }
    _check_finite(arrays, f"component {name!r}", dtype)
    entries = read_manifest(directory)
    with replacing(directory / (name + SUFFIX)) as temporary:
        write_tensors(temporary, arrays)
        entries[name] = describe(temporary)
    write_manifest(directory, entries)


def write_tensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file with the default permissions of a new file.

    safetensors itself creates files that only their owner can read.

    Raises:
        OSError: the file cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(dict(arrays), path, metadata)
    except SafetensorError as error:  # for any failure, such as a full disk
        raise OSError(str(error)) from error
    path.chmod(mode)


def load_component(
    directory: PathLike, name: str, dtype: DType | None = "float32", *, check_finite: bool = False
) -> dict[str, Any]:
    """Reads a component and verifies its checksum.

    Args:
        directory: the model directory.
        name: name of the component, such as "stage_1".
        dtype: type of the returned floating-point arrays; None keeps each as it is on disk.
        check_finite: also check for NaN and infinity.

    Returns:
        nested dict of numpy arrays.

    Raises:
        MissingFile: the directory or component does not exist; lists the existing components.
        UserError: the file differs from the saved one, has no checksum, or (with `check_finite`)
            is not finite; names the file and the problem.
    """
    path = _verified_file(as_path(directory), name)
    tensors = SafeTensors(path)
    arrays = {key: _cast(tensors[key], dtype) for key in tensors}
    if check_finite:
        _check_finite(arrays, str(path), dtype)
    return trees.unflatten(arrays)


def open_component(directory: PathLike, name: str) -> dict[str, Any]:
    """Opens a component as nested dict of float32 `StoredTensor`, which are read when indexed.

    Raises:
        MissingFile, UserError: as `load_component`.
    """
    path = _verified_file(as_path(directory), name)
    tensors = SafeTensors(path)
    return trees.unflatten(
        {key: StoredTensor(tensors, key, np.dtype(np.float32)) for key in tensors}
    )


def component_sha256(directory: PathLike, name: str) -> str:
    """Returns the checksum in a component's manifest entry; loading the component verifies it.

    Raises:
        MissingFile: the directory or component does not exist; lists the existing components.
        UserError: the component has no checksum.
    """
    path = _component_file(as_path(directory), name)
    saved = read_manifest(path.parent).get(name)
    if saved is None:
        raise UserError(without_checksum(path))
    return saved.sha256


def list_components(directory: PathLike) -> list[str]:
    """Returns the sorted names of the components in a model directory.

    Raises:
        MissingFile: the directory does not exist.
    """
    directory = as_path(directory)
    if not directory.is_dir():
        raise MissingFile(f"no model directory {directory}")
    files = directory.glob(f"*{SUFFIX}")
    return sorted(file.name.removesuffix(SUFFIX) for file in files if file.name[0] != ".")


def check_against(expected_shapes: trees.Tree, params: trees.Tree, path: PathLike) -> None:
    """Raises unless `params` has exactly the paths and shapes of `expected_shapes`.

    Args:
        expected_shapes: nested dict of `jax.ShapeDtypeStruct`, as from `jax.eval_shape(init)`.
        params: nested dict of arrays.
        path: the file that contains `params`, for the message.

    Raises:
        UserError: names the file and every missing, unexpected and misshaped tensor.
    """
    if lines := trees.differences(expected_shapes, params).lines():
        raise UserError("\n".join([f"{os.fspath(path)} does not fit the configuration:", *lines]))


def _verified_file(directory: Path, name: str) -> Path:
    """Returns the local file of a component, which in a bucket is a copy, once it is verified."""
    path = local_copy(_component_file(directory, name))
    verify(path, read_manifest(directory).get(name))
    return path


def _component_file(directory: Path, name: str) -> Path:
    components = list_components(directory)
    if name not in components:
        there_are = ", ".join(components) or "none"
        raise MissingFile(f"no component {name!r} in {directory}; there are: {there_are}")
    return directory / (name + SUFFIX)


def _cast(array: np.ndarray, dtype: DType | None) -> np.ndarray:
    if dtype is None or not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    with np.errstate(over="ignore"):  # an overflow is reported with its path by _check_finite
        return array.astype(dtype, copy=False)


def _check_finite(arrays: dict[str, np.ndarray], what: str, dtype: DType | None) -> None:
    bad = [path for path, array in arrays.items() if not np.all(np.isfinite(array))]
    if bad:
        as_dtype = f" in {dtype}" if dtype else ""
        raise UserError("\n  ".join([f"{what} has tensors that are not finite{as_dtype}:", *bad]))
