"""Readers of other libraries' files: JSON, safetensors and PyTorch's pickles, tensor by tensor."""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import read_json_object

_PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth")

# In bytes. Parsing takes up to 25 times as much. Stable Diffusion's headers have 0.2 MiB.
_MAX_HEADER = 8 * 2**20

_DTYPES: Mapping[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name, each read when accessed; their shapes are known without reading."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor; raises KeyError for an unknown name."""


class EntryTensors(Tensors):
    """Tensors that are found by entries with a `shape`, in the order of their names."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._entries[name].shape)


@dataclass(frozen=True)
class _Entry:
    """Location of a tensor in a safetensors file: `offset` in bytes from the file's start."""

    dtype: Any
    shape: tuple[int, ...]
    offset: int


class SafeTensors(EntryTensors):
    """The tensors of a safetensors file; bfloat16 as numpy arrays of `ml_dtypes.bfloat16`.

    Tensors are read without a memory map, which would keep the whole file resident beside the
    arrays made from it.

    Raises:
        MissingFile: The file does not exist.
        UserError: It is not a safetensors file, is truncated, has a header that contradicts its
            content, or has a tensor of a type that numpy lacks.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingFile(f"no file {path}")
        _check_header_size(path)
        try:
            with safe_open(path, framework="numpy") as file:  # checks sizes, offsets and overlaps
                self.metadata: dict[str, str] = file.metadata() or {}
        except SafetensorError as error:
            raise UserError(f"{path} is not a safetensors file: {error}") from error
        self._path = path
        super().__init__(_read_header(path))

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        count = int(np.prod(entry.shape, dtype=np.int64))
        return read_array(self._path, name, entry.dtype, count, entry.offset).reshape(entry.shape)

    def mapped(self, name: str) -> np.ndarray:
        """Returns a tensor as a read-only memory map, of which only the indexed part is read.

        Raises UserError if the file can no longer be mapped.
        """
        entry = self._entries[name]
        try:
            return np.memmap(self._path, entry.dtype, "r", entry.offset, entry.shape)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {name} of {self._path}: {error}") from error


def _check_header_size(path: Path) -> None:
    """Raises UserError for a header so large that its parsing would take much memory."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    # A larger size than the file's is damage, which `safe_open` reports.
    if _MAX_HEADER < size < path.stat().st_size:
        raise UserError(
            f"{path} has a header of {size:,} bytes, expected at most {_MAX_HEADER:,}: "
            "it is damaged, or not a file of weights"
        )


class PrefixedTensors(Tensors):
    """The tensors whose names start with `prefix`, by their names without it."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._tensors, self._prefix = tensors, prefix
        self._names = [name[len(prefix) :] for name in tensors if name.startswith(prefix)]

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors.shape(self._prefix + name)


class ShardedTensors(Tensors):
    """Tensors in several files; `shards` maps each name to the tensors of its file."""

    def __init__(self, shards: Mapping[str, Tensors]) -> None:
        self._shards = shards

    def __getitem__(self, name: str) -> np.ndarray:
        return self._shards[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._shards))

    def __len__(self) -> int:
        return len(self._shards)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shards[name].shape(name)


def open_tensors(path: Path) -> Tensors:
    """Opens a safetensors file, a PyTorch pickle, a TorchScript file, or an index of several.

    Raises:
        MissingFile: The file, or a file that the index names, does not exist.
        UserError: It is none of these, is damaged, or would run code; names the file.
    """
    if not path.is_file():
        raise MissingFile(f"no file {path}")
    if path.suffix.lower() == ".json":
        return _open_index(path)
    if _is_pickle(path):
        from videogen_jax.weights.torch_files import open_pickle
        from videogen_jax.weights.torchscript import is_torchscript, open_torchscript

        return open_torchscript(path) if is_torchscript(path) else open_pickle(path)
    return SafeTensors(path)


def _is_pickle(path: Path) -> bool:
    """Whether a file is read as a pickle: by its first bytes, and if they are neither by suffix."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return False
    # A zip file, or a pickle of protocol 2 or later.
    is_pickle = start.startswith((b"PK\x03\x04", b"\x80"))
    return is_pickle or path.suffix.lower() in _PICKLE_SUFFIXES


def read_array(path: Path, name: str, dtype: Any, count: int, offset: int) -> np.ndarray:
    """Reads `count` numbers at `offset` bytes from the start of a file; `name` is for errors.

    Raises:
        UserError: The file cannot be read, or is too short.
    """
    try:
        array = np.fromfile(path, dtype, count, offset=offset)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if array.size != count:
        raise UserError(f"{path} ends within {name}")
    return array


def index_files(path: Path) -> dict[str, str]:
    """Reads {tensor name: file name} from an `*.index.json` of weights in several files.

    Raises:
        MissingFile: The index does not exist.
        UserError: It has no `weight_map` of names to files beside it.
    """
    files = read_json_object(path).get("weight_map")
    if not isinstance(files, dict) or not files or not all(map(_is_file_name, files.values())):
        raise UserError(f"{path} has no weight_map of tensors to files beside it")
    return files


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.-]+", value) is not None


def _open_index(path: Path) -> Tensors:
    files = index_files(path)
    names = sorted(set(files.values()))
    if indices := [name for name in names if name.lower().endswith(".json")]:
        raise UserError(f"{path} names {', '.join(indices)}, expected files of weights")
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise MissingFile(f"{path} needs {', '.join(missing)}, which are not there")
    shards = {name: open_tensors(path.parent / name) for name in names}
    found = {(tensor, name) for name, shard in shards.items() for tensor in shard}
    if found != set(files.items()):
        wrong = sorted({tensor for tensor, _ in found ^ set(files.items())})
        raise UserError(f"{path} and its files disagree on where {', '.join(wrong)} are")
    return ShardedTensors({tensor: shards[name] for tensor, name in files.items()})


def _read_header(path: Path) -> dict[str, _Entry]:
    """Reads the header of a safetensors file that `safe_open` has checked."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    if foreign := sorted({entry["dtype"] for entry in header.values()} - _DTYPES.keys()):
        raise UserError(f"{path} has tensors of type {', '.join(foreign)}, which are not read")
    return {
        name: _Entry(_DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + size + start)
        for name, entry in header.items()
        for start in entry["data_offsets"][:1]
    }
