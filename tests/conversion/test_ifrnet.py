"""Converted IFRNet checkpoints equal an independent definition in torch."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.support import torch_ifrnet
from tests.support.hostile_pickles import making_folder
from videogen_jax import trees
from videogen_jax.commands.convert.ifrnet import main
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.models.flow import IFRNET, IFRNET_L, IFRNET_S, FlowConfig, LatentFlow

NETWORK_TOLERANCE = 1e-4
TINY = FlowConfig(encoder_channels=(6, 7, 8, 9), side_channels=5)
TINY_L = FlowConfig(encoder_channels=(6, 8, 9, 10), side_channels=4, stem_kernel=7)


def network(config: FlowConfig) -> torch_ifrnet.IFRNet:
    torch.manual_seed(0)
    sizes = config.encoder_channels, config.side_channels, config.stem_kernel
    return torch_ifrnet.IFRNet(*sizes).eval()


def converted(theirs: torch_ifrnet.IFRNet, prefix: str, folder: Path) -> tuple[FlowConfig, Any]:
    state = {prefix + key: tensor for key, tensor in theirs.state_dict().items()}
    torch.save(state, folder / "ifrnet.pth")
    main(folder / "ifrnet.pth", folder / "model")
    return load_pixel_flow(folder / "model")


@pytest.mark.parametrize(
    ("config", "prefix"), [(IFRNET, ""), (IFRNET_S, "module."), (IFRNET_L, "")]
)
def test_a_network_of_published_size_has_the_parameters_of_torch(tmp_path, config, prefix):
    """By the layout with which `tests/models/test_flow.py` shows that the networks are equal."""
    theirs = network(config)
    found, params = converted(theirs, prefix, tmp_path)
    assert found == config
    expected = {
        torch_ifrnet.flax_path(name): torch_ifrnet.flax_layout(value).numpy()
        for name, value in theirs.state_dict().items()
    }
    flat = trees.flatten(params)
    assert flat.keys() == expected.keys()
    for path, value in flat.items():
        np.testing.assert_array_equal(value, expected[path])


@pytest.mark.parametrize(("config", "prefix"), [(TINY, "module."), (TINY_L, "")])
def test_converted_network_equals_torch(tmp_path, config, prefix):
    theirs = network(config)
    found, params = converted(theirs, prefix, tmp_path)
    assert found == config

    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 16, 32, 3), np.float32)
    time = np.array([0.25], np.float32)
    ours = jax.jit(LatentFlow(found).apply)({"params": params}, a, b, time)
    with torch.no_grad():
        first, second = (torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in (a, b))
        expected = theirs(first, second, torch.from_numpy(time))
    pairs = [(ours.merged_BHWC, expected.merged), (ours.flow_a_BHW2, expected.flow_a)]
    for x_BHWC, x_BCHW in pairs:
        difference = np.abs(np.asarray(x_BHWC) - x_BCHW.numpy().transpose(0, 2, 3, 1))
        assert difference.max() < NETWORK_TOLERANCE


def refused(source: Path, model_dir: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        main(source, model_dir)
    assert not model_dir.exists()
    return str(caught.value)


def test_wrong_weights_are_named_together(tmp_path):
    state = network(TINY).state_dict()
    del state["decoder3.convblock.2.bias"]
    state["decoder2.convblock.0.0.bias"] = torch.zeros(3)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pth")
    message = refused(tmp_path / "bad.pth", tmp_path / "model")
    assert "missing decoder3/conv_out/bias" in message
    assert "decoder2.convblock.0.0.bias has shape (3,), expected (21,)" in message
    assert "unexpected extra.weight" in message


def test_what_is_no_ifrnet_checkpoint(tmp_path):
    source, model_dir = tmp_path / "x.pth", tmp_path / "model"
    assert "no file" in refused(source, model_dir)
    torch.save(torch.nn.Linear(2, 2).state_dict(), source)
    assert "is not an IFRNet checkpoint: no convolution" in refused(source, model_dir)
    torch.save([1, 2], source)
    assert "holds a list, expected tensors by name" in refused(source, model_dir)
    torch.save({"a": making_folder(tmp_path / "executed")}, source)
    assert "none of its code was run" in refused(source, model_dir)
    assert not (tmp_path / "executed").exists()


def test_existing_directories_keep_what_they_have(tmp_path):
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    (model_dir / "config.json").write_text("kept")
    torch.save(network(TINY).state_dict(), tmp_path / "x.pth")
    main(tmp_path / "x.pth", model_dir, "bfloat16")
    assert (model_dir / "config.json").read_text() == "kept"
    with pytest.raises(ValueError, match="has a pixel_flow already"):
        main(tmp_path / "x.pth", model_dir)
    assert load_pixel_flow(model_dir)[0] == TINY
