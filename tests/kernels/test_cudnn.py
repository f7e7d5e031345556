"""cuDNN's attention: which programs have it, what it takes, and its place on a mesh."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from tests.support import attending
from videogen_jax import layout, sharding
from videogen_jax.kernels import blocked, choices, cudnn
from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.sizes import Sizes
from videogen_jax.training.planning import hlo
from videogen_jax.training.planning.topology import absent_devices, parse_topology


@jax.custom_vjp
def stand_in(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> jax.Array:
    """Takes the place of cuDNN, which a machine without a GPU cannot even trace."""
    return jnp.arctan2(q_BTND, k_BSND + v_BSND)


def forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return stand_in(q, k, v), (q, k, v)


def backward(residuals: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.cbrt(x) * gradient for x in residuals)


stand_in.defvjp(forward, backward)


@pytest.fixture
def on_hopper(monkeypatch):
    monkeypatch.setattr(cudnn, "_widest_head", lambda: 256)


def half(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape, jnp.bfloat16)


def test_programs_for_nvidia_gpus_use_cudnn_and_those_for_other_platforms_do_not(
    on_hopper, monkeypatch
):
    """Also where a program for another platform is traced on a machine with a GPU."""
    monkeypatch.setattr(cudnn, "attention", stand_in)
    rows = (choices.Choice("cuda", "cudnn", (jnp.bfloat16,)),)
    monkeypatch.setattr(choices, "TABLE", rows)
    q, k, v = half(2, 8, 2, 16), half(2, 8, 2, 16), half(2, 8, 2, 16)

    @jax.jit
    def loss_and_gradients(q, k, v):
        remat = jax.checkpoint(attention)
        return jax.value_and_grad(lambda *qkv: remat(*qkv).sum().astype(jnp.float32), (0, 1, 2))(
            q, k, v
        )

    traced = loss_and_gradients.trace(q, k, v)
    texts = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cuda", "cpu", "tpu")
    }
    for operation in ("atan2", "cbrt"):  # of the stand-in's value and gradients
        assert operation in texts["cuda"]
        assert operation not in texts["cpu"] and operation not in texts["tpu"]
    assert "exponential" in texts["cpu"] and "exponential" not in texts["cuda"]
    expected = jax.jit(jax.value_and_grad(
        lambda *qkv: blocked.attention(*qkv).sum().astype(jnp.float32), (0, 1, 2)
    ))(q, k, v)  # fmt: skip
    for ours, theirs in zip(
        jax.tree.leaves(loss_and_gradients(q, k, v)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("queries", "keys", "width", "dtype", "why"),
    [
        (8, 8, 16, "bfloat16", ""),
        (8, 8, 256, "float16", ""),
        (8, 8, 264, "bfloat16", "256 at most, got 264"),  # the autoencoder's head is wider
        (8, 8, 12, "bfloat16", "a multiple of 8 features, 256 at most, got 12"),
        (8, 77, 16, "bfloat16", "even numbers of queries and keys"),
        (7, 8, 16, "bfloat16", "even numbers of queries and keys"),
        (8, 8, 16, "float32", "bfloat16 or float16, got float32"),
    ],
)
def test_what_cudnn_takes(on_hopper, queries, keys, width, dtype, why):
    refusal = cudnn.refusal(Sizes(jnp.dtype(dtype), queries, keys, width))
    assert why in refusal and bool(why) == bool(refusal)


def test_cudnn_is_not_used_without_a_gpu():
    assert "it needs an NVIDIA GPU" in cudnn.refusal(Sizes(jnp.bfloat16, 512, 512, 40))


@pytest.mark.slow  # compiles for eight H100 that are absent
@pytest.mark.skipif(not importlib.util.find_spec("jax_plugins"), reason="needs jax-cuda12-plugin")
@pytest.mark.parametrize(("batch", "frames"), [(16, 1), (16, 2), (3, 2)])
def test_cudnn_on_a_mesh_gathers_nothing(on_hopper, monkeypatch, batch, frames):
    """Batch, heads and queries are split. cuDNN alone refuses queries that are split."""
    stablehlo = "jax._src.cudnn.fused_attention_stablehlo."  # which look for cuDNN's library
    monkeypatch.setattr(stablehlo + "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(stablehlo + "check_compute_capability", lambda *_: True)
    topology = parse_topology("h100:8")
    config = sharding.MeshConfig(frames=frames)
    mesh = sharding.make_mesh(config, absent_devices(topology))
    with layout.activate(mesh):
        shape = (batch, 1024, 8, 40)
        q, k = (
            jax.ShapeDtypeStruct(
                shape, jnp.bfloat16, sharding=NamedSharding(mesh, layout.split(shape, names))
            )
            for names in ("batch pixels heads .", "batch . heads .")
        )
        assert layout.platform() == "cuda"
        function = lambda *qkv: attention(*qkv, kernel="cudnn", batch="batch")
        lowered = attending.value_and_gradients.lower(function, q, k, k, q)
        text = lowered.compile(dict(topology.chip.compiler_options)).as_text()
    assert text.count("__cudnn$fmha") >= 2  # forward and backward
    assert set(hlo.collectives(text, 8)) <= {"all-reduce"}
