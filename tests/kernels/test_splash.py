"""The TPU's kernel, interpreted on a CPU: the plain formula, forward and backward."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import pytest

from tests.support import attending
from videogen_jax import layout, sharding
from videogen_jax.kernels import blocked, splash
from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.sizes import Sizes
from videogen_jax.training.planning import hlo
from videogen_jax.training.planning.plan import peak_bytes
from videogen_jax.training.planning.topology import absent_devices, parse_topology, prepare

interpreted = functools.partial(splash.attention, interpret=True)


@pytest.mark.slow  # the interpreter's programs take seconds to compile
@pytest.mark.parametrize(
    ("queries", "keys", "width", "dtype", "tolerance"),
    [
        (200, 77, 40, "float32", attending.BLOCK_TOLERANCE),  # both are filled up
        (256, 640, 8, "float32", attending.BLOCK_TOLERANCE),  # several blocks
        (128, 130, 160, "bfloat16", attending.HALF_TOLERANCE),
    ],
)
def test_the_kernel_is_the_plain_formula(queries, keys, width, dtype, tolerance):
    given = attending.arrays(2, queries, keys, 2, width, dtype)
    found = attending.value_and_gradients(interpreted, *given)
    assert {x.dtype for x in found} == {jnp.dtype(dtype)}
    exact = (x.astype(jnp.float32) for x in given)
    expected = attending.value_and_gradients(blocked.attention, *exact)
    attending.assert_near(found, expected, tolerance)


def test_forward_with_filled_up_sequences_and_heads():
    q, k, v, _ = attending.arrays(1, 130, 5, 1, 3)
    found = jax.jit(interpreted)(q, k, v)
    attending.assert_near((found,), (blocked.attention(q, k, v),), attending.BLOCK_TOLERANCE)


@pytest.mark.parametrize(
    ("length", "block"), [(4096, 512), (1024, 512), (576, 128), (256, 256), (77, 128), (1300, 128)]
)
def test_a_block_adds_few_positions(length, block):
    assert splash.block_of(length) == block


def test_what_the_kernel_takes():
    assert "default precision" in splash.refusal(Sizes(jnp.bfloat16, 8, 8, 8))  # conftest's
    with jax.default_matmul_precision("default"):
        assert not splash.refusal(Sizes(jnp.bfloat16, 4096, 4096, 512))
    assert "bfloat16 or float32, got float16" in splash.refusal(Sizes(jnp.float16, 8, 8, 8))
    assert "512 features at most, got 640" in splash.refusal(Sizes(jnp.float32, 8, 8, 640))


@pytest.mark.slow  # compiles for absent TPUs
@jax.default_matmul_precision("default")  # not that of conftest.py
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize(("slice_", "frames"), [("v5e:2x4", 1), ("v5p:2x2x2", 2)])
def test_the_kernel_compiles_for_tpus_and_gathers_nothing(slice_, frames):
    """A step over 32² pixels of Stable Diffusion's width, of 16 images over 8 chips."""
    topology = parse_topology(slice_)
    prepare(topology)
    config = sharding.MeshConfig(frames=frames)
    mesh = sharding.make_mesh(config, absent_devices(topology))
    peaks = {}
    with layout.activate(mesh):
        split = layout.split((16, 1024, 8, 80), "images pixels heads .")
        placed = jax.sharding.NamedSharding(mesh, split)
        q = jax.ShapeDtypeStruct((16, 1024, 8, 80), jnp.bfloat16, sharding=placed)
        for function in (attention, blocked.attention):
            compiled = attending.value_and_gradients.lower(function, q, q, q, q).compile()
            kernels = compiled.as_text().count("tpu_custom_call")
            assert kernels == (3 if function is attention else 0)  # forward, of q, of k and v
            sent = hlo.collectives(compiled.as_text(), mesh.size).values()
            assert not any(of_kind.sent for of_kind in sent)
            peaks[function] = peak_bytes(compiled, "tpu")
    assert peaks[attention] < 0.5 * peaks[blocked.attention]
