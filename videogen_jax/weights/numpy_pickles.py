"""Reader of pickled parameters: nested dicts of numpy arrays, as some JAX packages publish them.

The unpickler builds dicts, tuples, strings, numbers, and records of the arrays in the file. It
imports nothing and calls nothing that the file names; the arrays are made from the records.
"""

import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.weights.files import EntryTensors, Tensors

_PROTOCOL = b"\x80"  # how a pickle of protocol 2 or later begins
_TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # in files of torch before 1.6
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_FLOATS = ("f2", "f4", "f8")


class ArrayDict(EntryTensors):
    """Tensors that are numpy arrays in memory."""

    def __getitem__(self, name: str) -> np.ndarray:
        return self._entries[name]


def is_numpy_pickle(path: Path) -> bool:
    """Returns True if a file is a pickle (protocol 2 or later) that `torch.save` did not write."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return False
    with path.open("rb") as file:
        start = file.read(32)
    return start.startswith(_PROTOCOL) and _TORCH_MAGIC not in start


def open_numpy_pickle(path: Path) -> Tensors:
    """Reads a pickled nested dict of floating-point arrays, whose names are joined by "/".

    Raises:
        MissingFile: The file does not exist.
        UserError: It is damaged, refers to code, or contains other things than arrays; names it.
    """
    if not path.is_file():
        raise MissingFile(f"no file {path}")
    with path.open("rb") as file:
        try:
            pairs = list(_flatten(_Unpickler(file).load(), ""))
        except Exception as error:  # a damaged pickle can raise any of them
            reason = str(error) or type(error).__name__
            raise UserError(
                f"{path} is not a pickle of arrays only, or damaged: {reason}"
            ) from error
    arrays = dict(pairs)
    if len(arrays) < len(pairs):
        repeated = sorted(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        raise UserError(f"{path} has {', '.join(repeated)} twice, as names joined by /")
    return ArrayDict(arrays)


class _DType:
    """What the file says of a dtype."""

    def __init__(self, code: str) -> None:
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1]

    def dtype(self) -> np.dtype:
        if self._code not in _FLOATS or self._order not in ("<", ">", "="):
            raise UserError(f"it has an array of type {self._code}, expected one of {_FLOATS}")
        return np.dtype(self._order + self._code)


class _Array:
    """What the file says of an array."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self._shape, self._dtype, self._is_fortran, self._bytes = state

    def array(self) -> np.ndarray:
        if not isinstance(self._dtype, _DType) or not isinstance(self._bytes, bytes):
            raise UserError("it has an array without numbers")
        flat = np.frombuffer(self._bytes, self._dtype.dtype())
        array = flat.reshape(self._shape, order="F" if self._is_fortran else "C")
        return array.astype(array.dtype.newbyteorder("="), copy=False)


class _Unpickler(pickle.Unpickler):
    """Resolves numpy's names for arrays to records, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _RECONSTRUCT:
            return self._new_array
        if full == "numpy.dtype":
            return self._new_dtype
        if full == "numpy.ndarray":
            return full  # only passed on to _new_array
        raise UserError(f"it refers to {full}; none of its code was run")

    # Methods, because a pickle could set attributes of a class or a function.
    def _new_array(self, *_: Any) -> _Array:
        return _Array()

    def _new_dtype(self, code: str, *_: Any) -> _DType:
        return _DType(code)


def _flatten(tree: Any, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, _Array):
        yield prefix, tree.array()
    elif isinstance(tree, dict):
        for key, branch in tree.items():
            if not isinstance(key, str):
                raise UserError(f"it has the name {key!r}, expected a text")
            yield from _flatten(branch, f"{prefix}/{key}" if prefix else key)
    else:
        where = f" as {prefix}" if prefix else ""
        raise UserError(f"it holds a {type(tree).__name__}{where}, expected arrays by name")
