"""Files of weights: the format is that of the content, and a header has a largest size."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from videogen_jax.weights import files
from videogen_jax.weights.files import SafeTensors, open_tensors

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path: Path, kind: str) -> Path:
    if kind == "safetensors":
        save_file({"a": ARRAY}, path)
    else:
        content = {"a": torch.from_numpy(ARRAY)}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy pickle"])
@pytest.mark.parametrize(
    "suffix", [".safetensors", ".SAFETENSORS", ".ckpt", ".CKPT", ".bin", ".Pt", ".download", ""]
)
def test_the_content_decides_not_the_suffix(tmp_path, kind, suffix):
    tensors = open_tensors(write(tmp_path / f"weights{suffix}", kind))
    assert isinstance(tensors, SafeTensors) == (kind == "safetensors")
    np.testing.assert_array_equal(tensors["a"], ARRAY)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.safetensors", "is not a safetensors file"),
        ("x.CKPT", "is not a PyTorch file, or has parts"),
    ],
)
def test_content_that_is_neither_is_reported_by_the_suffix(tmp_path, name, message):
    (tmp_path / name).write_text("<html>404 not found</html>")
    with pytest.raises(ValueError, match=f"{name} {message}"):
        open_tensors(tmp_path / name)


def test_an_index_names_files_of_weights_only(tmp_path):
    save_file({"a": ARRAY}, tmp_path / "shard.safetensors")
    path = tmp_path / "model.safetensors.INDEX.JSON"
    path.write_text(json.dumps({"weight_map": {"a": "shard.safetensors"}}))
    np.testing.assert_array_equal(open_tensors(path)["a"], ARRAY)
    for name in (path.name, "other.json"):
        (tmp_path / "other.json").write_text(json.dumps({"weight_map": {"a": path.name}}))
        path.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(ValueError, match=f"names {name}, expected files of weights"):
            open_tensors(path)


def test_a_large_header_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    path = write(tmp_path / "x.safetensors", "safetensors")
    monkeypatch.setattr(files, "_MAX_HEADER", 60)
    monkeypatch.setattr(files, "safe_open", lambda *args, **kwargs: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=r"x.safetensors has a header of \d+ bytes, expected at"):
        open_tensors(path)


def test_a_header_that_is_larger_than_the_file_is_damage(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        open_tensors(path)
