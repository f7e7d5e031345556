"""PyTorch's pickles: their tensors are read, and no code in them is run."""

import os
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.hostile_pickles import Exploit, making_folder
from videogen_jax.weights.torch_files import open_pickle


class ModelCheckpoint:
    """An object whose state is pickled."""


class AttributeDict(dict):
    """A dict with additional state."""


@pytest.fixture
def lightning(monkeypatch) -> dict:
    """A checkpoint with PyTorch Lightning's records, of classes that the reader does not have."""
    places = {
        "pytorch_lightning.callbacks.model_checkpoint": ModelCheckpoint,
        "pytorch_lightning.utilities.parsing": AttributeDict,
    }
    for module, kind in places.items():
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        setattr(sys.modules[module], kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", module)
    callback, parameters = ModelCheckpoint(), AttributeDict(base_learning_rate=1e-4)
    callback.best_model_path = "last.ckpt"
    parameters.note = "state"
    return {
        "epoch": 3,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {
            ModelCheckpoint: {
                "monitor": "val/loss_simple_ema",
                "best_model_score": torch.tensor(0.14),
                "current_score": np.float64(0.15),
            },
            "by name": callback,
        },
        "hyper_parameters": parameters,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
        "lr_schedulers": [],
        "state_dict": {"model.weight": torch.arange(6.0).reshape(2, 3), "scale": torch.tensor(2.0)},
    }


def save(content, path: Path, legacy: bool, monkeypatch) -> None:
    """Writes the file and removes the writer's modules."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    monkeypatch.undo()
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


@pytest.mark.parametrize("legacy", [False, True])
def test_training_records_are_passed_over(lightning, tmp_path, monkeypatch, legacy):
    path = tmp_path / "model.ckpt"
    save(lightning, path, legacy, monkeypatch)
    assert b"pytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint" in path.read_bytes()
    tensors = open_pickle(path)
    assert list(tensors) == ["model.weight", "scale"]
    np.testing.assert_array_equal(tensors["model.weight"], [[0, 1, 2], [3, 4, 5]])
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_among_training_records_is_refused(lightning, tmp_path, monkeypatch, legacy):
    path, target = tmp_path / "model.ckpt", tmp_path / "executed"
    lightning["callbacks"]["hidden"] = Exploit(os.system, f"touch {target}")
    save(lightning, path, legacy, monkeypatch)
    with pytest.raises(ValueError, match="none of its code was run") as caught:
        open_pickle(path)
    message = str(caught.value)
    assert str(path) in message and "pytorch_lightning" not in message
    assert legacy or "it refers to posix.system" in message
    assert not target.exists()


def tensors_of_all_kinds() -> dict[str, torch.Tensor]:
    whole = torch.arange(60.0).reshape(3, 4, 5)
    return {
        "whole": whole,
        "view": whole[1, :, 2:4],
        "transposed": whole.permute(2, 0, 1),
        "expanded": torch.arange(3).expand(2, 3),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(7, dtype=torch.int64),
        "half": torch.linspace(0, 1, 5).half(),
        "bool": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_every_layout_is_read_as_torch_has_it(tmp_path, legacy):
    expected = tensors_of_all_kinds()
    path = tmp_path / "weights.bin"
    torch.save(expected, path, _use_new_zipfile_serialization=not legacy)
    found = open_pickle(path)
    assert set(found) == expected.keys()
    for name, tensor in expected.items():
        array = tensor.detach().numpy()
        assert found.shape(name) == array.shape
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype
        assert found[name].flags.c_contiguous


def test_zip_files_are_not_held_in_memory(tmp_path):
    path = tmp_path / "weights.bin"
    torch.save(tensors_of_all_kinds(), path)
    tensors = open_pickle(path)
    kept = tensors["whole"]
    with path.open("r+b") as file:  # all numbers become 0
        file.write(bytes(path.stat().st_size))
    assert kept.any() and not tensors["whole"].any()


@pytest.mark.parametrize("damage", ["shorter", "compressed"])
def test_records_must_be_what_the_pickle_says(tmp_path, damage):
    path, changed = tmp_path / "weights.bin", tmp_path / "changed.bin"
    torch.save({"weight": torch.arange(100.0)}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content, kind = source.read(name), zipfile.ZIP_STORED
            if name.endswith("data/0"):
                content = content[:40] if damage == "shorter" else content
                kind = zipfile.ZIP_STORED if damage == "shorter" else zipfile.ZIP_DEFLATED
            target.writestr(name, content, kind)
    with pytest.raises(ValueError, match="is damaged: weight is not where the file says"):
        open_pickle(changed)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, dtype=torch.complex64), "torch.complex64, which is not read"),
        (torch.eye(2).to_sparse(), "torch.sparse_coo of torch.float32, which is not read"),
    ],
)
def test_tensors_of_other_kinds_are_refused(tmp_path, tensor, message):
    torch.save({"weight": tensor}, tmp_path / "weights.bin")
    with pytest.raises(ValueError, match=message):
        open_pickle(tmp_path / "weights.bin")


def zipped(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/byteorder", "little")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_in_pickles_of_every_protocol(tmp_path, protocol, legacy, recwarn):
    path, new = tmp_path / "x.bin", not legacy
    content = {"a": making_folder(tmp_path / "executed")}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=f"{path} is .*none of its code was run") as caught:
        open_pickle(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()
    assert not recwarn.list


@pytest.mark.parametrize("is_zip", [False, True])
@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + (10**13).to_bytes(8, "little") + b"\x85R.",
        b"\x80\x05\x96" + (10**12).to_bytes(8, "little") + b"abc.",
        b"\x80\x02h\x05.",
        b"\x80\x02]]((.",
        b"\x80\x02.",
    ],
)
def test_hostile_pickles_are_named_in_one_line(tmp_path, pickled, is_zip):
    path = tmp_path / "x.bin"
    zipped(path, pickled) if is_zip else path.write_bytes(pickled)
    with pytest.raises(ValueError, match=str(path)) as caught:
        open_pickle(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_names_that_are_no_texts(tmp_path, legacy):
    path = tmp_path / "x.bin"
    content = {"a": torch.ones(1), 1: torch.ones(2), (1, 2): torch.ones(1)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"x.bin has names 1, \(1, 2\), expected texts"):
        open_pickle(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_repeat_their_numbers(tmp_path, legacy):
    path, new = tmp_path / "x.bin", not legacy
    torch.save({"a": torch.ones(1).expand(2, 3)}, path, _use_new_zipfile_serialization=new)
    np.testing.assert_array_equal(open_pickle(path)["a"], np.ones((2, 3), np.float32))
    big = torch.ones(1).expand(10**6, 10**6)
    torch.save({"a": big}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match="x.bin has a with more numbers than it stores"):
        open_pickle(path)
