"""A kernel on each device of a mesh: the same numbers as on one device, and nothing gathered."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from tests.support import attending
from videogen_jax import layout, sharding
from videogen_jax.kernels import blocked, cpu, splash
from videogen_jax.kernels.sharded import Shares, per_device
from videogen_jax.training.planning import hlo

# Batch, mesh, and what it splits: the batch, the batch and queries, heads and queries.
MESHES = {
    "batch": (8, sharding.MeshConfig(data=2, fsdp=4)),
    "queries": (4, sharding.MeshConfig(data=4, frames=2)),
    "heads": (1, sharding.MeshConfig(data=4, frames=2)),
}
QUERIES, KEYS, HEADS, WIDTH = 16, 24, 4, 8


def on_mesh(kernel, given, mesh):
    """Returns the compiled function of sharded arrays, and its results."""
    q, k, v, gradient = given

    def function(q, k, v):
        return per_device(kernel, Shares.of(q, k, "batch"))(q, k, v)

    with layout.activate(mesh):
        shares = Shares.of(q, k, "batch")
        of_q, of_k = (NamedSharding(mesh, spec) for spec in (shares.queries, shares.keys))
        placed = tuple(
            jax.device_put(x, s)
            for x, s in zip((q, k, v, gradient), (of_q, of_k, of_k, of_q), strict=True)
        )
        compiled = attending.value_and_gradients.lower(function, *placed).compile()
        return compiled, compiled(*placed), shares


@pytest.mark.parametrize("name", MESHES)
def test_devices_compute_what_one_does_and_gather_nothing(name):
    batch, config = MESHES[name]
    given = attending.arrays(batch, QUERIES, KEYS, HEADS, WIDTH)
    compiled, found, _ = on_mesh(cpu.attention, given, sharding.make_mesh(config))
    expected = attending.value_and_gradients(blocked.attention, *given)
    attending.assert_near(found, expected, attending.BLOCK_TOLERANCE)
    traffic = hlo.collectives(compiled.as_text(), 8)
    sent = {kind for kind, of_kind in traffic.items() if of_kind.sent}
    # Devices that share queries sum their gradients of keys and values.
    assert sent == (set() if name == "batch" else {"all-reduce"})


def test_the_shares_of_a_device():
    with layout.activate(sharding.make_mesh(MESHES["heads"][1])):
        q, k = (np.zeros((1, length, HEADS, WIDTH)) for length in (QUERIES, KEYS))
        shares = Shares.of(q, k, "batch")
        assert tuple(shares.queries) == (None, "frames", "data", None)
        assert tuple(shares.keys) == (None, None, "data", None)
        assert (shares.sizes.queries, shares.sizes.keys) == (QUERIES // 2, KEYS)
        # The images of a clip are on the devices that share its frames, and have all their pixels.
        images = np.zeros((8, QUERIES, HEADS, WIDTH))
        shares = Shares.of(images, images, "images")
        assert tuple(shares.queries) == (("data", "frames"), None, None, None)
        assert shares.sizes.queries == QUERIES
    assert Shares.of(q, k, "batch").sizes.queries == QUERIES


def test_entries_of_a_batch_that_devices_share():
    """Validation maps a function of one entry; the devices of an entry then share its queries."""
    q, k, v, _ = (x[:, None] for x in attending.arrays(4, QUERIES, KEYS, HEADS, WIDTH))

    def entry(q, k, v):
        shares = Shares.of(q, k, "batch")
        assert shares.sizes.queries == QUERIES // 2
        return per_device(cpu.attention, shares)(q, k, v)

    with layout.activate(sharding.make_mesh(MESHES["queries"][1])):
        found = jax.jit(layout.over_batch(entry))(q, k, v)
    expected = blocked.attention(q[:, 0], k[:, 0], v[:, 0])
    attending.assert_near((found[:, 0],), (expected,), attending.BLOCK_TOLERANCE)


@pytest.mark.slow  # the interpreter's programs take seconds to compile
@pytest.mark.parametrize("name", MESHES)
def test_the_tpus_kernel_on_a_mesh(name):
    batch, config = MESHES[name]
    given = attending.arrays(batch, 128, 136, HEADS, WIDTH)
    kernel = functools.partial(splash.attention, interpret=True)
    _, found, _ = on_mesh(kernel, given, sharding.make_mesh(config))
    expected = attending.value_and_gradients(blocked.attention, *given)
    attending.assert_near(found, expected, attending.BLOCK_TOLERANCE)
