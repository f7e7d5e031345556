"""Attention's arrays, and its value with all gradients, for tests of kernels."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-2  # bfloat16 keeps 8 bits


def arrays(
    batch: int, queries: int, keys: int, heads: int, width: int, dtype: str = "float32"
) -> tuple[jax.Array, ...]:
    """Returns queries, keys, values and a gradient of the output, normally distributed."""
    rng = np.random.default_rng(1)
    return tuple(
        jnp.asarray(rng.standard_normal((batch, length, heads, width), np.float32), dtype)
        for length in (queries, keys, keys, queries)
    )


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(function: Callable[..., jax.Array], q, k, v, gradient) -> tuple:
    """Returns the output, and the gradients with respect to queries, keys and values."""
    out, pullback = jax.vjp(function, q, k, v)
    return out, *pullback(gradient.astype(out.dtype))


def assert_near(found: tuple, expected: tuple, tolerance: float) -> None:
    """Checks the results of `value_and_gradients`, relative to the largest entry of each array."""
    for ours, right in zip(found, expected, strict=True):
        ours, right = (np.asarray(x, np.float32) for x in (ours, right))
        np.testing.assert_allclose(ours, right, atol=tolerance * np.abs(right).max())
