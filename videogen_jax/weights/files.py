"""Reading other libraries' files: diffusers folders and safetensors, one tensor at a time.

A diffusers folder is what `save_pretrained` of a diffusers pipeline writes:

    model_index.json                           {"unet": ["diffusers", "UNet2DConditionModel"], ...}
    unet/config.json
    unet/diffusion_pytorch_model.safetensors
    text_encoder/config.json
    text_encoder/model.safetensors
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

_INDEX = "model_index.json"
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")


class LazyTensors(Mapping[str, np.ndarray]):
    """The tensors of an open safetensors file, each read when asked for.

    bfloat16 tensors are numpy arrays of `ml_dtypes.bfloat16`.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = frozenset(file.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_tensors(path: Path) -> Iterator[LazyTensors]:
    """Opens a safetensors file for reading tensors by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        file = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    with file as opened:
        yield LazyTensors(opened)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON, or not an object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a {type(data).__name__}, expected an object")
    return data


def check_diffusers_folder(folder: Path, classes: Mapping[str, str]) -> None:
    """Checks that a folder is a diffusers pipeline with the expected components.

    Args:
        folder: What should be a diffusers folder.
        classes: Class name that each needed component must have, such as
            {"unet": "UNet2DConditionModel"}.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is a file, another kind of folder, or a pipeline whose components are missing
            or of another class; names all of them.
    """
    kind = "a diffusers folder with safetensors weights is read"
    if folder.is_file():
        raise ValueError(f"{folder} is a file; {kind}")
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if not (folder / _INDEX).is_file():
        raise ValueError(f"{folder} has no {_INDEX}, it has {_listing(folder)}; {kind}")
    index = read_json(folder / _INDEX)
    problems = []
    for name, expected in classes.items():
        entry = index.get(name)
        if not isinstance(entry, list) or entry[-1:] != [expected]:
            problems.append(f"{name} is {json.dumps(entry)}, expected a {expected}")
        elif not (folder / name).is_dir():
            problems.append(f"the folder {name} is missing")
    if problems:
        raise ValueError(f"{folder / _INDEX}: {'; '.join(problems)}")


def find_weights(folder: Path) -> Path:
    """The safetensors file of a component's folder.

    Raises:
        FileNotFoundError: There is none; names what there is instead.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    expected = " or ".join(_WEIGHTS)
    raise FileNotFoundError(
        f"no {expected} in {folder}, which has {_listing(folder)}; "
        "weights in several files, in variants or as .bin are not read"
    )


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
