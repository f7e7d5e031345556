"""The initialisation of networks, which has one place in the library."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax.errors import ScopeParamNotFoundError, ScopeParamShapeError

from tests.support.micro_model import MICRO
from videogen_jax.models import parameters
from videogen_jax.models.components import component_shapes, init_components
from videogen_jax.models.discriminator import DiscriminatorConfig

LIBRARY = Path(__file__).parents[2] / "videogen_jax"
# Networks of a task, not of a model.
ELSEWHERE = {"training/tasks/text_encoder.py"}


def test_shapes_are_those_of_fresh_parameters():
    key = jax.random.key(0)
    sizes = DiscriminatorConfig(channels=4, num_layers=1), 16
    fresh = parameters.init_discriminator(key, *sizes)
    shapes = parameters.shapes(parameters.init_discriminator, *sizes)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), fresh) == jax.tree.map(
        lambda x: (x.shape, x.dtype), shapes
    )
    assert parameters.count(shapes) == sum(x.size for x in jax.tree.leaves(fresh))


def test_components_can_be_selected_by_name():
    assert list(component_shapes(MICRO, "flow")) == ["flow"]
    with pytest.raises(KeyError):
        component_shapes(MICRO, "no such component")
    every = jax.eval_shape(lambda: init_components(MICRO, jax.random.key(0)))
    assert every.keys() == component_shapes(MICRO).keys()


def test_a_parameter_of_another_shape_is_refused():
    """Flax does so; `tests/support/flax_checks.py` replaces its check in the tests."""
    dense, x = nn.Dense(3), jnp.zeros((1, 2))
    params = {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}
    assert dense.apply({"params": params}, x).shape == (1, 3)
    for kernel in ((2, 4), (3, 2)):
        with pytest.raises(ScopeParamShapeError):
            dense.apply({"params": params | {"kernel": jnp.zeros(kernel)}}, x)
    with pytest.raises(ScopeParamNotFoundError):
        dense.apply({"params": {"bias": jnp.zeros(3)}}, x)


def test_networks_are_initialised_here_alone():
    """No other file contains `….init(…)["params"]`, which initialises a Linen module."""
    found = set()
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
                if getattr(node.value.func, "attr", "") == "init":
                    found.add(str(path.relative_to(LIBRARY)))
    assert found == {"models/parameters.py", *ELSEWHERE}
