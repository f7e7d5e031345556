"""PyTorch's pickles, read by torch's restricted unpickler: tensors only, no code is run."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from videogen_jax.weights.files import Tensors


class _TrainingRecord:
    """Stands for classes of training libraries, whose content is not used and code never run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


# What the trainers of Stable Diffusion left beside the weights in their checkpoints.
_RECORDS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)


class PickledTensors(Tensors):
    """The tensors of a state dict, as numpy arrays on request."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        import torch

        tensor = self._tensors[name].detach().contiguous()
        if tensor.dtype == torch.bfloat16:  # numpy has no such type of its own
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._tensors))

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)


def open_pickle(path: Path) -> Tensors:
    """The tensors of a file that `torch.save` wrote: a state dict, or one under "state_dict".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: torch is not installed; the file is damaged, refers to code or holds something
            else than tensors; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path} is a PyTorch pickle, which needs torch to be read: install it, "
            "or take the safetensors file of the same weights"
        ) from error

    content = _load(torch, path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected tensors by name")
    if others := [str(name) for name, value in content.items() if not torch.is_tensor(value)]:
        raise ValueError(f"{path} holds {', '.join(others[:5])}, which are not tensors")
    return PickledTensors(content)


def _load(torch: Any, path: Path) -> Any:
    """`torch.load` without code. Files of torch before 1.6 are no zip files and are not mapped."""
    records = [(_TrainingRecord, name) for name in _RECORDS]
    try:
        with torch.serialization.safe_globals(records):
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # torch's message advises to load the file without protection, so it is not passed on.
        raise ValueError(
            f"{path} is not a pickle of tensors only{_refers_to(torch, path)}; it was not loaded "
            "and none of its code was run. Take the safetensors file of the same weights"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a PyTorch file, or damaged: {reason}") from error


def _refers_to(torch: Any, path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return ""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    foreign = sorted(set(names) - set(_RECORDS))
    return f", it refers to {', '.join(foreign)}" if foreign else ""
