"""The patch discriminator: parity with that of taming-transformers, and with one of 3-D
convolutions, both rewritten in PyTorch."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator

torch = import_reference("torch")
nn = import_reference("torch.nn")

NETWORK_TOLERANCE = 1e-4
OF_FRAMES = DiscriminatorConfig(channels=4)
OF_WINDOWS = DiscriminatorConfig(channels=4, frames=5)
SHAPE = (2, 7, 32, 40, 3)


def reference(config: DiscriminatorConfig) -> nn.Sequential:
    """Builds `NLayerDiscriminator` of taming-transformers, with its batch norm, on clips.

    Kernels of the first layers span three frames if `config.frames` is more than one.
    """

    def conv(i: int, width: int, wider: int, stride: int, bias: bool) -> nn.Conv3d:
        size = (3 if i < config.frames // 2 else 1, 4, 4)
        return nn.Conv3d(width, wider, size, (1, stride, stride), (0, 1, 1), bias=bias)

    layers = [conv(0, 3, config.channels, 2, True), nn.LeakyReLU(0.2, True)]
    width = config.channels
    for i in range(1, config.num_layers + 1):
        wider = config.channels * min(2**i, 8)
        stride = 2 if i < config.num_layers else 1
        layers += [conv(i, width, wider, stride, False), nn.BatchNorm3d(wider)]
        layers += [nn.LeakyReLU(0.2, True)]
        width = wider
    return nn.Sequential(*layers, nn.Conv3d(width, 1, (1, 4, 4), 1, (0, 1, 1)))


def params_of(network: nn.Sequential) -> dict:
    names = {nn.Conv3d: [*(f"conv_{i}" for i in range(4)), "conv_out"]}
    names[nn.BatchNorm3d] = [f"norm_{i}" for i in range(1, 4)]
    params = {}
    for kind, kind_names in names.items():
        layers = [layer for layer in network if isinstance(layer, kind)]
        for name, layer in zip(kind_names, layers, strict=True):
            weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
            weight = weights.pop("weight")
            if weight.ndim == 1:
                params[name] = {"scale": weight, **weights}
                continue
            kernel = weight.transpose(3, 4, 2, 1, 0)  # the frames of an input are stacked
            params[name] = {"kernel": kernel.reshape(4, 4, -1, len(weight)), **weights}
    return params


@pytest.mark.parametrize("config", [OF_FRAMES, OF_WINDOWS])
def test_equals_the_reference(config):
    torch.manual_seed(0)
    network = reference(config)
    for layer in network:
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.normal_(layer.weight, 1.0, 0.3)
            nn.init.normal_(layer.bias)
    x_BFHWC = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    expected = network(torch.from_numpy(x_BFHWC).permute(0, 4, 1, 2, 3))[:, 0].detach().numpy()
    ours = jax.jit(PatchDiscriminator(config).apply)({"params": params_of(network)}, x_BFHWC)
    assert ours.dtype == jnp.float32 and ours.shape[:2] == (2, 7 + 1 - config.frames)
    np.testing.assert_allclose(ours, expected, atol=NETWORK_TOLERANCE)


def test_only_windows_see_the_order_of_frames():
    x_BFHWC = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    order = np.random.default_rng(2).permutation(SHAPE[1])
    for config in (OF_FRAMES, OF_WINDOWS):
        torch.manual_seed(1)
        params = {"params": params_of(reference(config))}
        apply = jax.jit(PatchDiscriminator(config).apply)
        logits, shuffled = apply(params, x_BFHWC), apply(params, x_BFHWC[:, order])
        if config is OF_FRAMES:
            np.testing.assert_allclose(shuffled, logits[:, order], atol=NETWORK_TOLERANCE)
        else:
            reversed_ = apply(params, x_BFHWC[:, ::-1])[:, ::-1]
            for other in (shuffled, reversed_):
                assert abs(other.mean() - logits.mean()) > 20 * NETWORK_TOLERANCE


def test_default_sizes_and_patches():
    clip = jax.ShapeDtypeStruct((1, 16, 256, 256, 3), jnp.float32)
    for config, of_time in ((DiscriminatorConfig(), 16), (DiscriminatorConfig(frames=5), 12)):
        network = PatchDiscriminator(config)
        logits, params = jax.eval_shape(network.init_with_output, jax.random.key(0), clip)
        assert logits.shape == (1, of_time, 30, 30)
        count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
        assert sum(p.numel() for p in reference(config).parameters()) == count
        assert count == {16: 2_765_633, 12: 3_033_921}[of_time]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 5, 24, 23, 3), "at least 24 pixels a side, got 24 × 23"),
        ((1, 4, 24, 24, 3), "windows of 5 frames needs clips of at least as many, got 4"),
    ],
)
def test_clips_without_a_patch_are_errors(shape, message):
    network = PatchDiscriminator(OF_WINDOWS)
    smallest = jnp.zeros((1, 5, 24, 24, 3))
    logits, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), smallest)
    assert logits.shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 0}, "channels"),
        ({"num_layers": 0}, "num_layers"),
        ({"frames": 4}, "frames is 4, expected an odd number from 1 to 9 with 3 num_layers"),
        ({"frames": -1}, "frames is -1"),
        ({"frames": 7, "num_layers": 1}, "frames is 7, expected an odd number from 1 to 5"),
    ],
)
def test_wrong_sizes_are_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        DiscriminatorConfig(**fields)
