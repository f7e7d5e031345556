"""TorchScript files: the tensors are read as torch has them, and no code in the file is run."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.hostile_pickles import Exploit
from tests.support.torchscript import save_torchscript
from videogen_jax.errors import UserError
from videogen_jax.weights.files import open_tensors
from videogen_jax.weights.torchscript import is_torchscript

STATE = {
    "visual.proj": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,  # strided
    "visual.blocks.0.weight": torch.ones(2, 3).half(),
    "visual.blocks.1.weight": torch.full((4,), 0.1).bfloat16(),
    "scale": torch.tensor(3.0),
    "sizes": torch.arange(4),
}


@pytest.fixture
def path(tmp_path) -> Path:
    return save_torchscript(STATE, tmp_path / "x.pt")


def test_every_tensor_is_read_as_torch_has_it(path):
    assert is_torchscript(path)
    found = open_tensors(path)
    assert set(found) == STATE.keys()
    for name, tensor in STATE.items():
        assert found.shape(name) == tuple(tensor.shape)
        assert str(found[name].dtype) == str(tensor.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(found[name].astype(np.float32), tensor.float().numpy())


def test_files_of_torch_save_are_told_apart(tmp_path):
    torch.save(STATE, tmp_path / "y.pt")
    assert not is_torchscript(tmp_path / "y.pt")
    assert set(open_tensors(tmp_path / "y.pt")) == STATE.keys()


def replaced(path: Path, change: Any) -> Path:
    """Replaces the pickle of a file."""
    with zipfile.ZipFile(path) as old:
        entries = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return path


def test_no_code_is_run(path, tmp_path):
    target = tmp_path / "executed"
    replaced(path, lambda _: pickle.dumps({"a": Exploit(os.mkdir, str(target))}, protocol=2))
    with pytest.raises(UserError, match=r"refers to \w+.mkdir; none of its code was run"):
        open_tensors(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"torch HalfStorage".replace(b" ", b"\n"), b"torch\nFullStorage", "refers to torch.Full"),
        (b"BFloat16Storage\n", b"LongStorage\n", "is not where the file says"),
        (b"K\x02K\x03", b"K\x02K\x7f", "is not where the file says"),
        (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009", "has no numbers in the file"),
    ],
)
def test_tensors_must_be_in_the_file(path, old, new, message):
    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new)

    with pytest.raises(UserError, match=message):
        open_tensors(replaced(path, change))


def test_damaged_pickles(path):
    with pytest.raises(UserError, match=r"x\.pt is not a TorchScript file, or damaged"):
        open_tensors(replaced(path, lambda content: content[:-40]))


def test_torch_itself_reads_the_file(path):
    """So that the tests' files are real ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.jit.load(path).state_dict().keys() == STATE.keys()
