"""The first state of a new run."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import optax

from videogen_jax import sharding
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.begin import begin
from videogen_jax.training.step import state_shapes

SEED = 3
OPTIMIZER = optax.sgd(0.1)


def first_state(task: Any, mesh_config: MeshConfig, devices: Any) -> Any:
    """Returns the state with which a run of `task` without checkpoints begins."""
    mesh = sharding.make_mesh(mesh_config, devices)
    shapes = state_shapes(task, OPTIMIZER, mesh, mesh_config)
    nothing: Any = SimpleNamespace(latest_step=lambda: None)
    state = begin(task, OPTIMIZER, shapes, nothing, nothing, SEED, init_from=None)
    for leaf, shape in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True):
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (shape.shape, shape.dtype, shape.sharding)
    return state


class Pair:
    """Two parameters, of which a warm start may give the first."""

    frozen = None

    def __init__(self, source: np.ndarray | None):
        self._source = source

    def init(self, key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        return {
            "copied": {"kernel": jax.random.normal(first, (8, 4))},
            "drawn": {"kernel": jax.random.normal(second, (8, 4))},
        }

    def warm_start(self, params: Any) -> Any:
        return params if self._source is None else {**params, "copied": {"kernel": self._source}}


def test_what_the_warm_start_leaves_open_is_drawn_as_by_init_on_any_mesh():
    source = np.arange(32, dtype=np.float32).reshape(8, 4)
    fresh = jax.jit(Pair(None).init)(jax.random.key(SEED))
    for mesh, devices in (
        (MeshConfig(), jax.devices()[:1]),
        (MeshConfig(fsdp=4, data=2, min_sharded_bytes=1), jax.devices()),
    ):
        for given in (None, source):
            state = first_state(Pair(given), mesh, devices)
            np.testing.assert_array_equal(state.params["drawn"]["kernel"], fresh["drawn"]["kernel"])
            expected = fresh["copied"]["kernel"] if given is None else source
            np.testing.assert_array_equal(state.params["copied"]["kernel"], expected)
            jax.tree.map(np.testing.assert_array_equal, state.ema, state.params)
