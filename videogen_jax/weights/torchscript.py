"""Reader of the tensors in TorchScript files, such as OpenAI's CLIP, without torch.

`torch.jit.save` writes a zip file with the program, and a pickle of the module's attributes whose
tensors are entries beside it. The program is not read. The unpickler builds dicts, lists, numbers,
texts and records of modules and tensors; it imports nothing and calls nothing that the file names.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.weights.files import Tensors
from videogen_jax.weights.torch_files import Span, ZippedArray, ZippedTensors, zip_spans

_DTYPES: Mapping[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_PROGRAM = "/constants.pkl"  # only TorchScript has it beside data.pkl


def is_torchscript(path: Path) -> bool:
    """Returns True if a file is a zip file that `torch.jit.save` wrote."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(_PROGRAM) for name in archive.namelist())


def open_torchscript(path: Path) -> Tensors:
    """Opens the parameters and buffers of a TorchScript module by their names in its state dict.

    Raises:
        UserError: The file is damaged, or refers to other things than modules and tensors; names
            it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.endswith(_PROGRAM))
            root = root.removesuffix(_PROGRAM)
            with archive.open(f"{root}/data.pkl") as file:
                content = _Unpickler(file).load()
        spans = zip_spans(path)
        arrays = {
            name: _locate(name, tensor, spans.get(f"{root}/data/{tensor.storage.key}"))
            for name, tensor in _tensors(content, "")
        }
    except Exception as error:  # a damaged file can raise any of them
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} is not a TorchScript file, or damaged: {reason}") from error
    return ZippedTensors(path, arrays)


class _Storage(NamedTuple):
    """What the file says of a tensor's memory: its type's name, and the entry that has it."""

    kind: str
    key: str


class _Tensor(NamedTuple):
    """What the file says of a tensor: places in its storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Module:
    """What the file says of a module: its attributes by name."""

    def __setstate__(self, state: Any) -> None:
        self.attributes = state


class _Unpickler(pickle.Unpickler):
    """Resolves modules, tensors and storages to records, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return type(name, (_Module,), {})  # a new one, because a pickle could change it
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._new_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return self._new_hooks
        raise UserError(f"it refers to {module}.{name}; none of its code was run")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, *_ = pid
        return _Storage(str(kind), str(key))

    def _new_tensor(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    def _new_hooks(self, *_: Any) -> dict[str, Any]:
        return {}


def _tensors(content: Any, prefix: str) -> Iterator[tuple[str, _Tensor]]:
    """Yields the tensors of a module and of its modules; other attributes are settings."""
    if isinstance(content, _Tensor):
        yield prefix, content
    elif isinstance(content, _Module):
        for name, value in content.attributes.items():
            yield from _tensors(value, f"{prefix}.{name}" if prefix else name)


def _locate(name: str, tensor: _Tensor, span: Span | None) -> ZippedArray:
    if span is None or tensor.storage.kind not in _DTYPES or len(tensor.shape) > 8:
        raise UserError(f"{name} has no numbers in the file")
    dtype = np.dtype(_DTYPES[tensor.storage.kind])
    size, start = dtype.itemsize, span.offset + tensor.offset * dtype.itemsize
    array = ZippedArray(
        dtype, tensor.shape, tuple(size * stride for stride in tensor.strides), start
    )
    places = (tensor.offset, *tensor.shape, *tensor.strides)
    if min(places, default=0) < 0 or start + array.span * size > span.offset + span.size:
        raise UserError(f"{name} is not where the file says")
    return array
