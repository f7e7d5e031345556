"""Properties of LPIPS; `tests/conversion/test_lpips.py` compares it with torch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.models.features.lpips import (
    ALEXNET,
    VGG16,
    Backbone,
    LPIPSConfig,
    _unit_length,
    config_of,
    lpips,
)
from videogen_jax.models.parameters import count, init_lpips, shapes

TINY = LPIPSConfig("alexnet", (4, 5, 6, 7, 8))
BFLOAT16_TOLERANCE = 0.03  # relative, in the sum of the five levels


@pytest.fixture(scope="module")
def params() -> dict:
    fresh = jax.jit(init_lpips, static_argnums=1)(jax.random.key(0), TINY)
    heads = {f"head_{i}": jax.tree.map(jnp.abs, fresh[f"head_{i}"]) for i in range(5)}
    return {**fresh, **heads}


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).uniform(-1, 1, shape).astype(np.float32)


compiled = jax.jit(lpips, static_argnames="dtype")


def test_it_is_a_distance_of_each_pair(params):
    x, y = images(2, 3, 32, 32, 3)
    y[1] = x[1]
    distance = compiled(params, x, y)
    assert distance.shape == (3,) and distance.dtype == jnp.float32
    assert distance[0] > 0 and distance[1] == 0 and distance[2] > 0
    np.testing.assert_allclose(compiled(params, y, x), distance, rtol=1e-6)
    alone = compiled(params, np.repeat(x[2:], 3, 0), np.repeat(y[2:], 3, 0))
    np.testing.assert_allclose(alone, np.repeat(distance[2], 3), rtol=1e-5)


def test_bfloat16_is_near(params):
    x, y = images(2, 3, 32, 32, 3)
    expected = compiled(params, x, y)
    found = compiled(params, x, y, dtype=jnp.bfloat16)
    assert found.dtype == jnp.float32 and not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=BFLOAT16_TOLERANCE)


def test_the_gradient_points_to_a_larger_distance(params):
    x, y = images(2, 3, 32, 32, 3)
    distance, gradient = jax.jit(jax.value_and_grad(lambda x: lpips(params, x, y).sum()))(x)
    assert np.all(np.isfinite(gradient)) and np.any(gradient)
    step = 1e-3 * gradient / np.linalg.norm(gradient)
    change = (compiled(params, x + step, y).sum() - distance) / np.vdot(step, gradient)
    assert 0.5 < change < 1.5


def test_positions_without_features_have_a_finite_gradient():
    """The root of the squared length has no derivative where every ReLU is closed."""
    x = np.zeros((1, 2, 1, 4), np.float32)
    x[:, 1] = [3, 0, 4, 0]
    length, gradient = jax.value_and_grad(lambda x: _unit_length(x).sum())(x)
    np.testing.assert_allclose(length, 7 / 5, rtol=1e-6)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("config", [VGG16, ALEXNET])
def test_real_sizes_and_the_smallest_image(config):
    tree = shapes(init_lpips, config)
    assert config_of(tree) == config
    assert count(tree) == {"vgg16": 14_714_688 + 1472, "alexnet": 2_469_696 + 1152}[config.network]
    assert len(trees.flatten(tree)) == {"vgg16": 31, "alexnet": 15}[config.network]

    def positions(size: int) -> list[int]:
        x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        found = jax.eval_shape(Backbone(config).apply, {"params": tree["backbone"]}, x)
        return [level.shape[1] for level in found]

    assert positions(config.min_size)[-1] == 1
    assert positions(config.min_size - 1)[-1] == 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((1, 30, 64, 3), (1, 30, 64, 3), "at least 31 pixels a side, got shape .1, 30, 64, 3."),
        ((1, 32, 32, 4), (1, 32, 32, 4), r"needs images \[B, H, W, 3\]"),
        ((2, 5, 32, 32, 3), (2, 5, 32, 32, 3), r"needs images \[B, H, W, 3\]"),
        ((2, 32, 32, 3), (1, 32, 32, 3), "one shape, got .2, 32, 32, 3. and .1, 32, 32, 3."),
    ],
)
def test_wrong_images_are_named(params, x, y, message):
    with pytest.raises(UserError, match=message):
        lpips(params, jnp.zeros(x), jnp.zeros(y))


def test_other_parameters_are_named(params):
    for other in ({"conv_in": {}}, {**params, "head_4": {}}):
        with pytest.raises(UserError, match="not the parameters of an LPIPS"):
            config_of(other)


def test_a_width_is_at_least_one():
    with pytest.raises(UserError, match="channels is .4, 5, 0, 7, 8., expected at least 1"):
        dataclasses.replace(TINY, channels=(4, 5, 0, 7, 8))
