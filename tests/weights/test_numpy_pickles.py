"""Pickles of numpy arrays: the arrays are read, and no code in the file is run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.hostile_pickles import Exploit
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.weights.numpy_pickles import is_numpy_pickle, open_numpy_pickle


def written(path: Path, content: Any, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_every_layout_is_read_as_numpy_has_it(tmp_path, protocol, module):
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "whole": whole,
        "fortran": np.asfortranarray(whole),
        "view": whole[:, 1:, ::2],
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7.0),
        "half": np.arange(3, dtype=np.float16),
        "big_endian": np.arange(3, dtype=">f4"),
    }
    data = pickle.dumps({"net": arrays, "bias": arrays["half"]}, protocol)
    if protocol == 3:  # a name ends with its line; protocol 4 has its length
        data = data.replace(b"numpy._core.multiarray", module)
    (tmp_path / "x.ckpt").write_bytes(data)
    found = open_numpy_pickle(tmp_path / "x.ckpt")
    assert set(found) == {"bias", *(f"net/{name}" for name in arrays)}
    for name, array in arrays.items():
        assert found.shape(f"net/{name}") == array.shape
        np.testing.assert_array_equal(found[f"net/{name}"], array)
        assert found[f"net/{name}"].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_no_code_is_run(tmp_path, protocol):
    target = tmp_path / "executed"
    functions = [(os.mkdir, str(target)), (eval, f"__import__('os').mkdir({str(target)!r})")]
    for function, argument in functions:
        bomb = {"a": {"b": Exploit(function, argument)}}
        path = written(tmp_path / "x.ckpt", bomb, protocol)
        message = rf"it refers to \w+\.{function.__name__}; none of its code was run"
        with pytest.raises(UserError, match=message) as caught:
            open_numpy_pickle(path)
        assert str(path) in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([np.zeros(2)], "it holds a list, expected arrays by name"),
        ({"a": {"b": 3}}, "it holds a int as a/b, expected arrays by name"),
        ({"a/b": np.zeros(2), "a": {"b": np.zeros(2)}}, "has a/b twice"),
        ({1: np.zeros(2)}, "it has the name 1"),
        ({"a": np.zeros(2, np.int32)}, "an array of type i4"),
        ({"a": np.array(["x"])}, "an array of type U1"),
        ({"a": np.array([None])}, "it has an array without numbers"),
        ({"a": np.dtype("f4")}, "it holds a _DType as a"),
        ({"a": np.ndarray}, "it holds a str as a"),
        ({"a": np.float32(1)}, "refers to numpy._core.multiarray.scalar"),
        (OrderedDict(a=np.zeros(2)), "refers to collections.OrderedDict"),
    ],
)
def test_other_content_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        open_numpy_pickle(written(tmp_path / "x.ckpt", content))


def test_damaged_files(tmp_path):
    path = written(tmp_path / "x.ckpt", {"a": np.zeros(100, np.float32)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=f"{path} is not a pickle of arrays only, or damaged"):
            open_numpy_pickle(path)
    path.write_bytes(whole.replace(b"K\x64", b"K\x65"))  # 101 numbers
    with pytest.raises(UserError, match="cannot reshape"):
        open_numpy_pickle(path)
    loop: dict = {}
    loop["a"] = loop
    with pytest.raises(UserError, match="recursion"):
        open_numpy_pickle(written(path, loop))
    with pytest.raises(MissingFile, match="no file"):
        open_numpy_pickle(tmp_path / "none.ckpt")


def test_pickles_of_torch_are_told_apart(tmp_path):
    path = written(tmp_path / "x.ckpt", {"a": np.zeros(2, np.float32)})
    assert is_numpy_pickle(path)
    for zipped in (False, True):
        torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
        assert not is_numpy_pickle(path)
    path.write_bytes(b"")
    assert not is_numpy_pickle(path)
    assert not is_numpy_pickle(tmp_path / "none.ckpt")
