"""Attention: comparison with torch, blocks, causal masks, and the choice of a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from tests.support.references import import_reference
from videogen_jax import layout, sharding
from videogen_jax.kernels import blocked, cpu, cudnn
from videogen_jax.kernels.attention import attention, kernels_by_platform
from videogen_jax.kernels.blocked import MAX_LOGITS

torch = import_reference("torch")
F = import_reference("torch.nn.functional")

BLOCK_TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-2  # bfloat16 keeps 8 bits

B, T, S, N, D = 2, 7, 7, 3, 4
RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((B, length, N, D), np.float32) for length in (T, S, S))
COTANGENT = RNG.standard_normal(Q.shape, np.float32)


def values_and_gradients(causal: bool) -> tuple[jax.Array, ...]:
    out, pullback = jax.vjp(lambda q, k, v: attention(q, k, v, causal=causal), Q, K, V)
    return out, *pullback(COTANGENT)


@pytest.mark.parametrize("causal", [False, True])
def test_equals_torch(causal):
    q, k, v = (torch.from_numpy(x).transpose(1, 2) for x in (Q, K, V))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    np.testing.assert_allclose(attention(Q, K, V, causal=causal), expected, atol=BLOCK_TOLERANCE)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block", [1, 3, 6])
def test_blocks_change_neither_values_nor_gradients(causal, block, monkeypatch):
    whole = values_and_gradients(causal)
    monkeypatch.setattr(blocked, "MAX_LOGITS", block * B * N * S)
    jaxpr = jax.make_jaxpr(lambda q: attention(q, K, V, causal=causal))(Q)
    assert "scan" in str(jaxpr)
    for ours, expected in zip(values_and_gradients(causal), whole, strict=True):
        np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)


def test_causal_by_gradient():
    """The gradient of output t with respect to key or value s is zero exactly for s > t."""
    jacobian = jax.jit(jax.jacrev(lambda k, v: attention(Q, k, v, causal=True), argnums=(0, 1)))
    for gradient in jacobian(K, V):
        reach_TS = jnp.abs(gradient).max(axis=(0, 2, 3, 4, 6, 7))
        later = np.triu(np.ones((T, S), bool), k=1)
        assert (reach_TS[later] == 0).all()
        # The first query sees only one key, so its weight is 1 for any key.
        assert (reach_TS[~later][1:] > 0).all()


def sizes(jaxpr) -> list[int]:
    """Returns the number of elements of every intermediate of a program and its sub-programs."""
    found = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
    for equation in jaxpr.eqns:
        for inner in jaxprs_in_params(equation.params):
            found += sizes(inner)
    return found


@pytest.mark.parametrize("backward", [False, True])
def test_logits_are_bounded_at_the_papers_sizes(backward):
    """Stage 3 has 64×64 latents, 16 frames and 8 heads of 40: 2·10⁹ logits without blocks."""
    q = jax.ShapeDtypeStruct((16, 64 * 64, 8, 40), jnp.float32)
    function = attention
    if backward:
        function = jax.grad(lambda q, k, v: attention(q, k, v).sum(), argnums=(0, 1, 2))
    jaxpr = jax.make_jaxpr(function)(q, q, q)
    assert max(sizes(jaxpr.jaxpr)) <= MAX_LOGITS < 16 * 8 * 4096**2


def test_half_precision_keeps_a_float32_softmax():
    q, k, v = (x.astype(jnp.bfloat16) for x in (8 * Q, K, V))
    half = attention(q, k, v)
    assert half.dtype == jnp.bfloat16
    expected = attention(*(np.asarray(x, np.float32) for x in (q, k, v)))
    np.testing.assert_allclose(half.astype(np.float32), expected, atol=HALF_TOLERANCE)


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
    monkeypatch.setattr(cudnn, "attention", stand_in)
    monkeypatch.setattr(cudnn, "MIN_KEYS", 8)


def half(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape, jnp.bfloat16)


def test_programs_for_nvidia_gpus_use_cudnn_and_those_for_other_platforms_do_not(on_hopper):
    """Also where a program for another platform is traced on a machine with a GPU."""
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
    ("keys", "width", "dtype", "usable"),
    [
        (8, 16, jnp.bfloat16, True),
        (8, 256, jnp.float16, True),
        (8, 264, jnp.bfloat16, False),  # the autoencoder's single head is wider
        (8, 12, jnp.bfloat16, False),  # not a multiple of 8
        (7, 16, jnp.bfloat16, False),  # short: frames or text
        (9, 16, jnp.bfloat16, False),  # odd
        (8, 16, jnp.float32, False),
    ],
)
def test_what_cudnn_takes(on_hopper, keys, width, dtype, usable):
    q, k = jnp.zeros((1, 10, 1, width), dtype), jnp.zeros((1, keys, 1, width), dtype)
    assert cudnn.usable(q, k) == usable


def test_cudnn_is_not_used_without_a_gpu():
    q = half(1, cudnn.MIN_KEYS, 1, 40)
    assert not cudnn.usable(q, q)


@pytest.mark.parametrize(
    ("queries", "keys", "dtype", "tolerance"),
    [
        (600, 300, jnp.float32, BLOCK_TOLERANCE),  # the last block is filled up
        (512, 77, jnp.float32, BLOCK_TOLERANCE),  # text
        (300, 301, jnp.bfloat16, HALF_TOLERANCE),
    ],
)
def test_the_cpus_kernel_is_the_plain_formula(queries, keys, dtype, tolerance):
    rng = np.random.default_rng(1)
    q, k, v, gradient = (
        jnp.asarray(rng.standard_normal((2, length, 3, 8), np.float32), dtype)
        for length in (queries, keys, keys, queries)
    )
    assert kernels_by_platform(q, k)["cpu"] is cpu.attention

    def values_and_gradients(function, *qkv):
        out, pullback = jax.vjp(function, *qkv)
        return out, *pullback(gradient.astype(out.dtype))

    ours = jax.jit(lambda *qkv: values_and_gradients(attention, *qkv))(q, k, v)
    exact = (x.astype(jnp.float32) for x in (q, k, v))
    expected = jax.jit(lambda *qkv: values_and_gradients(blocked.attention, *qkv))(*exact)
    for found, right in zip(ours, expected, strict=True):
        assert found.dtype == dtype
        largest = np.abs(right).max()
        np.testing.assert_allclose(found.astype(np.float32), right, atol=tolerance * largest)


def test_the_cpus_kernel_is_not_used_for_short_sequences_and_on_several_devices():
    frames, image = half(64, 16, 8, 40), half(1, 1024, 8, 40)
    assert "cpu" not in kernels_by_platform(frames, frames)
    assert "cpu" in kernels_by_platform(image, image)
    with layout.activate(sharding.make_mesh(sharding.MeshConfig(data=8))):
        assert "cpu" not in kernels_by_platform(image, image)
