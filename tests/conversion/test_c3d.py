"""Converted C3D weights equal an independent definition in torch, from every source."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from videogen_jax.conversion.c3d import convert_c3d
from videogen_jax.evaluation.features import c3d_probabilities
from videogen_jax.models.features.c3d import C3D_UCF101, C3DConfig
from videogen_jax.models.features.loading import load_c3d
from videogen_jax.models.parameters import count, init_c3d, shapes

TOLERANCE = 1e-5  # relative to the largest probability
# Three rows and columns before the last pooling, which must become two.
TINY = C3DConfig(channels=(4, 5, 6, 7, 8), hidden=9, num_classes=5, size=48)
CONVS = {"1a": 0, "2a": 1, "3a": 2, "3b": 2, "4a": 3, "4b": 3, "5a": 4, "5b": 4}


class TorchC3D(nn.Module):
    """Maps videos `b c f h w` to logits; pooled sizes are rounded up."""

    def __init__(self):
        super().__init__()
        width = 3
        for name, level in CONVS.items():
            conv = nn.Conv3d(width, TINY.channels[level], 3, padding=1)
            self.add_module(f"conv{name}", conv)
            width = TINY.channels[level]
        self.fc6 = nn.Linear(width * 2 * 2, TINY.hidden)
        self.fc7 = nn.Linear(TINY.hidden, TINY.hidden)
        self.fc8 = nn.Linear(TINY.hidden, TINY.num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in CONVS:
            x = getattr(self, f"conv{name}")(x).relu()
            if name in ("1a", "2a", "3b", "4b", "5b"):
                frames = 1 if name == "1a" else 2
                x = nn.functional.max_pool3d(x, (frames, 2, 2), ceil_mode=True)
        x = self.fc6(x.flatten(1)).relu()
        return self.fc8(self.fc7(x).relu())


@pytest.fixture(scope="module")
def theirs() -> TorchC3D:
    torch.manual_seed(0)
    network = TorchC3D()
    for module in network.children():
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        network.conv1a.weight /= 50  # of levels of 255
    return network


def written(folder: Path, theirs: TorchC3D) -> dict[str, Path]:
    """Writes the weights in every form, and the mean clip, larger than the network needs."""
    state = theirs.state_dict()
    torch.save(state, folder / "torch.pth")
    ports = {
        name.replace("conv1a", "conv1").replace("conv2a", "conv2"): x for name, x in state.items()
    }
    torch.save(ports, folder / "port.pth")
    chainer = {
        name.replace(".weight", "/W").replace(".bias", "/b"): x.numpy() for name, x in state.items()
    }
    np.savez(folder / "chainer.npz", **chainer)
    mean = np.random.default_rng(0).uniform(90, 130, (3, 16, 58, 70)).astype(np.float32)
    np.savez(folder / "mean.npz", mean=mean)
    return {path.stem: path for path in folder.iterdir()}


def test_every_source_equals_torch(tmp_path, theirs):
    files = written(tmp_path, theirs)
    for name in ("torch", "port", "chainer"):
        convert_c3d(files[name], files["mean"], tmp_path / name, config=TINY)
    written_files = {(tmp_path / n / "c3d.safetensors").read_bytes() for n in ("torch", "port")}
    assert written_files == {(tmp_path / "chainer" / "c3d.safetensors").read_bytes()}

    # Of the network's own size, so that the resizing, which has its own test, changes nothing.
    videos = np.random.default_rng(1).integers(0, 256, (2, 16, 48, 48, 3), np.uint8)
    found = c3d_probabilities(*load_c3d(tmp_path / "torch"))(videos)
    mean = np.load(files["mean"])["mean"][:, :, 8:56, 8:56]
    x = videos[..., ::-1].transpose(0, 4, 1, 2, 3) - mean  # BGR
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).softmax(1).numpy()
    assert expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * expected.max())


def test_the_published_sizes():
    tree = shapes(init_c3d, C3D_UCF101)
    assert tree["mean"].shape == (16, 112, 112, 3)
    assert tree["fc6"]["kernel"].shape == (8192, 4096)
    convs = 27 * (3 * 64 + 64 * 128 + 128 * 256 + 256**2 + 256 * 512 + 3 * 512**2)
    linear = 8192 * 4096 + 4096 * 4096 + 4096 * 101
    biases = 64 + 128 + 2 * 256 + 4 * 512 + 2 * 4096 + 101
    assert count(tree) == convs + linear + biases + 16 * 112 * 112 * 3


def refused(source: Path, mean: Path | None, model_dir: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert_c3d(source, mean, model_dir, config=TINY)
    assert not model_dir.exists()
    return str(caught.value)


def test_what_is_missing_or_wrong_is_named(tmp_path, theirs):
    files, model_dir = written(tmp_path, theirs), tmp_path / "model"
    assert "needs its mean clip too, the file mean2.npz" in refused(files["torch"], None, model_dir)
    none = tmp_path / "none.npz"
    assert f"no file {none}" in refused(files["torch"], none, model_dir)
    assert f"no file {none}" in refused(none, files["mean"], model_dir)
    message = refused(files["torch"], files["chainer"], model_dir)
    assert "chainer.npz has" in message and "expected mean" in message
    np.savez(tmp_path / "small.npz", mean=np.zeros((3, 16, 50, 70)))
    message = refused(files["torch"], tmp_path / "small.npz", model_dir)
    assert "mean has shape (3, 16, 50, 70), expected (3, 16, 56 or more" in message
    (tmp_path / "bad.npz").write_bytes(files["chainer"].read_bytes()[:-30])
    assert "bad.npz is not" in refused(tmp_path / "bad.npz", files["mean"], model_dir)
    np.savez(tmp_path / "object.npz", mean=np.array([{}]))
    assert "object.npz is not" in refused(files["torch"], tmp_path / "object.npz", model_dir)
    state = dict(theirs.state_dict())
    del state["fc7.bias"]
    state["conv3b.weight"] = torch.zeros(6, 6, 1, 1, 1)
    torch.save(state, files["torch"])
    message = refused(files["torch"], files["mean"], model_dir)
    assert "missing fc7/bias, fc7.bias" in message
    assert "conv3b.weight has shape (6, 6, 1, 1, 1), expected (6, 6, 3, 3, 3)" in message
