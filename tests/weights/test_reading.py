"""Reading of a network's weights: the types that are read and written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from videogen_jax.weights.files import open_tensors
from videogen_jax.weights.reading import read_component
from videogen_jax.weights.rules import VECTOR, Rule, Table
from videogen_jax.weights.stable_diffusion.sources import ComponentSource

TABLE = Table((Rule("scale", "norm/scale", VECTOR), Rule("bias", "norm/bias", VECTOR)))


def save(tensors: dict[str, torch.Tensor], kind: str, path: Path) -> None:
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_weights_of_8_bits_become_float16_exactly(tmp_path, name, kind):
    dtype = getattr(torch, name)
    every = torch.arange(256, dtype=torch.uint8).view(dtype).to(torch.float32)
    small = {"scale": every[every.isfinite()].to(dtype), "bias": torch.ones(3).to(dtype)}
    save(small, kind, tmp_path / "x")
    source = ComponentSource(TABLE, open_tensors(tmp_path / "x"), "x")
    expected = {"norm": {"scale": np.empty(small["scale"].shape), "bias": np.empty(3)}}
    params, report = read_component("image_unet", source, expected, None)
    ours = params["norm"]["scale"]
    assert ours.dtype == np.float16
    np.testing.assert_array_equal(ours, every[every.isfinite()].numpy())
    assert (report.source_dtypes, report.written_dtypes) == ({name: 2}, {"float16": 2})
