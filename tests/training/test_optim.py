"""The optimizer: its rules, its schedules, and the parameters that its patterns select."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from videogen_jax.training.config import OptimConfig
from videogen_jax.training.optim import learning_rate, make_optimizer, trainable, with_frozen

PARAMS = {
    "conv": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)},
    "temporal_conv": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)},
    "norm": {"scale": jnp.full(3, 2.0)},
}
GRADS = jax.tree.map(lambda x: jnp.linspace(0.1, 0.3, x.size).reshape(x.shape), PARAMS)
PLAIN = {"name": "sgd", "b1": 0.0, "learning_rate": 0.5, "warmup_steps": 0, "clip_norm": 0.0}


def changes(config: OptimConfig, steps: int = 1):
    """Returns the change of parameters by `steps` updates of a configured optimizer."""
    return after(make_optimizer(config, 10), steps)


def after(optimizer: optax.GradientTransformation, steps: int):
    """Returns the change of parameters by updates with growing gradients."""
    state, params = optimizer.init(PARAMS), PARAMS
    for step in range(steps):
        grads = jax.tree.map(lambda grad: 5.0**step * grad, GRADS)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(jnp.subtract, params, PARAMS)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), a, b)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adamw", optax.adamw(0.5, 0.9, 0.99, weight_decay=0.0)),
        ("lion", optax.lion(0.5, 0.9, 0.99, weight_decay=0.0)),
        ("sgd", optax.sgd(0.5, momentum=0.9)),
        ("adafactor", optax.adafactor(0.5, multiply_by_parameter_scale=False)),
    ],
)
def test_each_rule_is_the_published_one(name, reference):
    config = OptimConfig(name, 0.5, warmup_steps=0, b2=0.99, weight_decay=0.0, clip_norm=0.0)
    assert_close(changes(config, steps=3), after(reference, steps=3))


def test_muon_turns_kernels_as_matrices_of_inputs_by_outputs():
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), jnp.float32)
    params = {"conv": {"kernel": kernel, "bias": jnp.ones(5)}, "table": {"embedding": kernel[0, 0]}}
    grads = jax.tree.map(lambda x: 3.0 * x, params)
    config = OptimConfig("muon", 1.0, warmup_steps=0, weight_decay=0.0, clip_norm=0.0)
    optimizer = make_optimizer(config, 10)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    matrix = -np.asarray(updates["conv"]["kernel"]).reshape(24, 5)
    # The nearest matrix with orthonormal columns, up to the error of five iterations; RMS 0.2.
    u, _, v = np.linalg.svd(np.asarray(kernel).reshape(24, 5), full_matrices=False)
    scaled = matrix / (0.2 * np.sqrt(24))
    np.testing.assert_allclose(np.linalg.svd(u.T @ scaled @ v.T)[1], 1.0, atol=0.35)
    np.testing.assert_allclose(u.T @ scaled @ v.T, np.diag(np.diag(u.T @ scaled @ v.T)), atol=1e-3)
    np.testing.assert_allclose(np.sqrt(np.mean(matrix**2)), 0.2, rtol=0.2)
    adam = -jnp.sign(params["table"]["embedding"])
    np.testing.assert_allclose(updates["table"]["embedding"], adam, rtol=1e-4)
    np.testing.assert_allclose(updates["conv"]["bias"], -1.0, rtol=1e-4)


def test_the_gradient_is_clipped_as_a_whole():
    found = changes(OptimConfig(**PLAIN | {"clip_norm": 0.1, "weight_decay": 0.0}))
    expected = jax.tree.map(lambda g: -0.5 * g * 0.1 / optax.tree.norm(GRADS), GRADS)
    assert_close(found, expected)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("constant", {0: 0.0, 5: 0.5, 10: 1.0, 60: 1.0, 110: 1.0, 200: 1.0}),
        ("cosine", {0: 0.0, 5: 0.5, 10: 1.0, 60: 0.6, 110: 0.2, 200: 0.2}),
        ("linear", {0: 0.0, 5: 0.5, 10: 1.0, 35: 0.8, 60: 0.6, 110: 0.2, 200: 0.2}),
    ],
)
def test_schedules_at_known_steps(schedule, values):
    config = OptimConfig(learning_rate=1.0, schedule=schedule, warmup_steps=10, final_fraction=0.2)
    rate = learning_rate(config, 110)
    np.testing.assert_allclose([rate(step) for step in values], list(values.values()), atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_without_warm_up_the_first_step_is_at_the_peak(schedule):
    config = OptimConfig(learning_rate=0.3, schedule=schedule, warmup_steps=0)
    np.testing.assert_allclose(learning_rate(config, 10)(0), 0.3)


def test_kernels_decay_and_nothing_else_by_default():
    found = changes(OptimConfig(**PLAIN | {"weight_decay": 0.1}))
    plain = changes(OptimConfig(**PLAIN | {"weight_decay": 0.0}))
    decay = jax.tree.map(jnp.subtract, found, plain)
    for module in ("conv", "temporal_conv"):
        np.testing.assert_allclose(decay[module]["kernel"], -0.5 * 0.1 * 2.0, rtol=1e-5)
        assert not decay[module]["bias"].any()
    assert not decay["norm"]["scale"].any()


def test_multipliers_act_where_they_match_and_the_first_counts():
    rules = (("temporal_.*/kernel", 3.0), ("temporal_.*", 0.5))
    plain = changes(OptimConfig(**PLAIN, weight_decay=0.1))
    found = changes(OptimConfig(**PLAIN, weight_decay=0.1, multipliers=rules))
    expected = dict(plain)
    expected["temporal_conv"] = {
        "kernel": 3.0 * plain["temporal_conv"]["kernel"],
        "bias": 0.5 * plain["temporal_conv"]["bias"],
    }
    assert_close(found, expected)


def test_trainable_leaves_out_what_is_frozen():
    trained = trainable((r"(?!temporal_).*",), PARAMS)
    assert len(jax.tree.leaves(trained)) == 2
    changed = jax.tree.map(lambda x: x + 1, trained)
    whole = with_frozen(changed, PARAMS)
    assert (whole["temporal_conv"]["bias"] == 3).all() and (whole["conv"]["bias"] == 2).all()
    assert jax.tree.structure(whole) == jax.tree.structure(PARAMS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"freeze": ("temporal",)}, r"optim.freeze: patterns that match no path.*near it: temp"),
        ({"freeze": (".*",)}, "optim.freeze: .* leave no parameter to train"),
        ({"decay": ("kernels",)}, "optim.decay: patterns that match no path"),
        ({"multipliers": (("spatial", 2.0),)}, "optim.multipliers: patterns that match no path"),
        ({"multipliers": (("temporal_.*", 2.0),), "freeze": ("temporal_.*",)}, "multipliers"),
    ],
)
def test_a_pattern_that_selects_nothing_is_an_error(changed, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make_optimizer(OptimConfig(**changed), 10).init(PARAMS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.0}, "optim.learning_rate is 0.0, expected > 0"),
        ({"b2": 1.0}, r"optim.b2 is 1.0, expected in \[0, 1\)"),
        ({"clip_norm": -1.0}, "optim.clip_norm is -1.0, expected 0 or more"),
        ({"multipliers": ((".*", -1.0),)}, "optim.multipliers has -1.0 for '.*'"),
    ],
)
def test_a_value_out_of_range_is_an_error(changed, message):
    with pytest.raises(ValueError, match=message):
        OptimConfig(**changed)
