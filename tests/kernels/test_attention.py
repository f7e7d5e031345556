"""Attention by the plain formula: comparison with torch, blocks, causal masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from tests.support.attending import BLOCK_TOLERANCE, HALF_TOLERANCE
from tests.support.references import import_reference
from videogen_jax.kernels import blocked
from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.blocked import MAX_LOGITS

torch = import_reference("torch")
F = import_reference("torch.nn.functional")

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
