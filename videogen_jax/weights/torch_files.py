"""Reader of PyTorch's pickles by torch's restricted unpickler: tensors only, no code is run.

The pickle of a zip file (torch 1.6 and later) is loaded without the bytes of its tensors, which are
read one by one when accessed. A memory map would keep the whole file resident beside the arrays
made from it. Older files are not zip files and are loaded into memory as a whole.
"""

import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.weights.files import EntryTensors, Tensors, read_array


class _TrainingRecord:
    """Replacement for classes of training libraries, whose code is never run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


# Classes of other objects in the checkpoints of Stable Diffusion's training, and their
# replacements. The first is a key in sd-v1-4.ckpt's "callbacks", whose scores may be numpy scalars.
_RECORDS: Mapping[str, Any] = {
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": _TrainingRecord,
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": _TrainingRecord,
    "pytorch_lightning.utilities.parsing.AttributeDict": OrderedDict,
    "numpy.core.multiarray.scalar": _TrainingRecord,
    "numpy._core.multiarray.scalar": _TrainingRecord,
    "numpy.dtype": _TrainingRecord,
}

_LOCAL_HEADER = 30  # bytes of a zip entry's header before its name; the last are two lengths


class Span(NamedTuple):
    """Bytes of a file: where they start, and how many there are."""

    offset: int
    size: int


@dataclass(frozen=True)
class ZippedArray:
    """Location of a tensor in a zip file: `offset` from its start and `strides`, in bytes."""

    dtype: Any
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def span(self) -> int:
        """Number of stored elements from the first to the last, inclusive."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((n - 1) * stride for n, stride in steps) // np.dtype(self.dtype).itemsize


class ZippedTensors(EntryTensors):
    """The tensors of a zip file that `torch.save` wrote, each read from disk when accessed."""

    def __init__(self, path: Path, arrays: Mapping[str, ZippedArray]) -> None:
        super().__init__(arrays)
        self._path = path

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        array = read_array(self._path, name, entry.dtype, entry.span, entry.offset)
        # As unsigned integers, because numpy cannot stride types that it does not know itself.
        plain = array.view(f"u{array.dtype.itemsize}")
        view = np.lib.stride_tricks.as_strided(plain, entry.shape, entry.strides, writeable=False)
        return np.ascontiguousarray(view).reshape(entry.shape).view(entry.dtype)


class LoadedTensors(EntryTensors):
    """The tensors of a state dict in memory, as numpy arrays."""

    def __getitem__(self, name: str) -> np.ndarray:
        import torch

        tensor = self._entries[name].detach().contiguous()
        if tensor.dtype == torch.bfloat16:  # numpy itself has no bfloat16
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()


def open_pickle(path: Path) -> Tensors:
    """Opens a file that `torch.save` wrote: a state dict, or one under "state_dict".

    TorchScript files are read by `torchscript.py`.

    Raises:
        MissingFile: The file does not exist.
        UserError: torch is not installed; or the file is damaged, refers to code or contains other
            things than tensors; names the file.
    """
    if not path.is_file():
        raise MissingFile(f"no file {path}")
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} is a PyTorch pickle, which needs torch to be read: install it, "
            "or take the safetensors file of the same weights"
        ) from error

    content = _load(torch, path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, expected tensors by name")
    if wrong := [repr(name) for name in content if not isinstance(name, str)]:
        raise UserError(f"{path} has names {', '.join(wrong[:5])}, expected texts")
    if others := [str(name) for name, value in content.items() if not torch.is_tensor(value)]:
        raise UserError(f"{path} holds {', '.join(others[:5])}, which are not tensors")
    size = path.stat().st_size
    if repeated := [n for n, t in content.items() if t.numel() * t.element_size() > size]:
        raise UserError(f"{path} has {', '.join(repeated[:5])} with more numbers than it stores")
    if not zipfile.is_zipfile(path):
        return LoadedTensors(content)
    records = {span.offset: span.size for span in zip_spans(path).values()}
    return ZippedTensors(
        path, {name: _locate(torch, path, name, value, records) for name, value in content.items()}
    )


def _load(torch: Any, path: Path) -> Any:
    """Calls `torch.load` without running code, and for a zip file without the tensors' bytes."""
    records = [(stand_in, name) for name, stand_in in _RECORDS.items()]
    try:
        with torch.serialization.safe_globals(records):
            device = "meta" if zipfile.is_zipfile(path) else "cpu"
            with path.open("rb") as file, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
                # The file, not its path, by whose suffix torch would choose the format.
                return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise UserError(
                f"{path} is not a PyTorch file, or has parts that torch's restricted unpickler "
                "does not read, such as of pickle protocol 4; none of its code was run. Take the "
                "safetensors file of the same weights"
            ) from error
        # torch's own message is dropped: it advises to load the file without protection.
        raise UserError(
            f"{path} is not a pickle of tensors only{_refers_to(torch, path)}; it was not loaded "
            "and none of its code was run. Take the safetensors file of the same weights"
        ) from error
    except Exception as error:  # the unpickler raises many types for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a PyTorch file, or damaged: {reason}") from error


def _refers_to(torch: Any, path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return ""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # such as for a newer protocol, whose names cannot be listed
        return ""
    foreign = sorted(set(names) - _RECORDS.keys())
    return f", it refers to {', '.join(foreign)}" if foreign else ""


def zip_spans(path: Path) -> dict[str, Span]:
    """Returns where the uncompressed entries of a zip file are, by name."""
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            file.seek(entry.header_offset + _LOCAL_HEADER - 4)
            lengths = [int.from_bytes(file.read(2), "little") for _ in ("name", "extra field")]
            if entry.compress_type == zipfile.ZIP_STORED:
                start = entry.header_offset + _LOCAL_HEADER + sum(lengths)
                found[entry.filename] = Span(start, entry.file_size)
    return found


def _locate(
    torch: Any, path: Path, name: str, tensor: Any, records: Mapping[int, int]
) -> ZippedArray:
    """Finds the location in the file of a tensor on the meta device."""
    dtypes = {
        torch.bfloat16: ml_dtypes.bfloat16,
        torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
        torch.float8_e5m2: ml_dtypes.float8_e5m2,
        **{
            getattr(torch, plain): getattr(np, plain)
            for plain in ("float64", "float32", "float16", "int64", "int32", "int16", "int8")
        },
        torch.uint8: np.uint8,
        torch.bool: np.bool_,
    }
    if tensor.layout != torch.strided or tensor.dtype not in dtypes:
        raise UserError(
            f"{path} has {name} as {tensor.layout} of {tensor.dtype}, which is not read"
        )
    storage, size = tensor.untyped_storage(), tensor.element_size()
    start = storage._checkpoint_offset
    if start is None:
        raise UserError(f"{path} cannot be read by torch {torch.__version__}; install a newer one")
    array = ZippedArray(
        dtypes[tensor.dtype],
        tuple(tensor.shape),
        tuple(stride * size for stride in tensor.stride()),
        start + tensor.storage_offset() * size,
    )
    end = array.offset - start + array.span * size
    if records.get(start) != storage.nbytes() or end > storage.nbytes():
        raise UserError(f"{path} is damaged: {name} is not where the file says")
    return array
