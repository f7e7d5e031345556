"""The patch discriminator: parity with that of taming-transformers, rewritten in PyTorch."""

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
CONFIG = DiscriminatorConfig(channels=4)
SHAPE = (2, 40, 48, 3)


def reference(channels: int, num_layers: int) -> nn.Sequential:
    """Builds `NLayerDiscriminator` of taming-transformers, with its batch norm."""
    layers = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    width = channels
    for i in range(1, num_layers + 1):
        wider = channels * min(2**i, 8)
        stride = 2 if i < num_layers else 1
        conv = nn.Conv2d(width, wider, 4, stride, 1, bias=False)
        layers += [conv, nn.BatchNorm2d(wider), nn.LeakyReLU(0.2, True)]
        width = wider
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))


def params_of(network: nn.Sequential) -> dict:
    names = {nn.Conv2d: [*(f"conv_{i}" for i in range(4)), "conv_out"]}
    names[nn.BatchNorm2d] = [f"norm_{i}" for i in range(1, 4)]
    params = {}
    for kind, kind_names in names.items():
        layers = [layer for layer in network if isinstance(layer, kind)]
        for name, layer in zip(kind_names, layers, strict=True):
            weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
            weight = weights.pop("weight")
            key, value = (
                ("kernel", weight.transpose(2, 3, 1, 0)) if weight.ndim > 1 else ("scale", weight)
            )
            params[name] = {key: value, **weights}
    return params


def test_equals_taming_transformers():
    torch.manual_seed(0)
    network = reference(CONFIG.channels, CONFIG.num_layers)
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.3)
            nn.init.normal_(layer.bias)
    x_NHWC = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    expected = network(torch.from_numpy(x_NHWC).permute(0, 3, 1, 2))[:, 0].detach().numpy()
    ours = jax.jit(PatchDiscriminator(CONFIG).apply)({"params": params_of(network)}, x_NHWC)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, expected, atol=NETWORK_TOLERANCE)


def test_default_size_and_patches():
    network = PatchDiscriminator(DiscriminatorConfig())
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    logits, params = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    assert logits.shape == (1, 30, 30)
    count = sum(p.numel() for p in reference(64, 3).parameters())
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count == 2_765_633


def test_images_without_a_patch_are_an_error():
    network = PatchDiscriminator(CONFIG)
    jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match="at least 16 pixels a side, got 16 × 15"):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 15, 3)))


@pytest.mark.parametrize("field", ["channels", "num_layers"])
def test_sizes_below_one_are_errors(field):
    with pytest.raises(ValueError, match=field):
        DiscriminatorConfig(**{field: 0})
