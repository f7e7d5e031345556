"""The CPU's kernel: the plain formula, forward and backward."""

import jax.numpy as jnp
import pytest

from tests.support import attending
from videogen_jax.kernels import blocked, choices
from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.sizes import Sizes


@pytest.mark.parametrize(
    ("queries", "keys", "dtype", "tolerance"),
    [
        (600, 300, "float32", attending.BLOCK_TOLERANCE),  # the last block is filled up
        (512, 77, "float32", attending.BLOCK_TOLERANCE),  # text
        (300, 301, "bfloat16", attending.HALF_TOLERANCE),
    ],
)
def test_the_kernel_is_the_plain_formula(queries, keys, dtype, tolerance):
    given = attending.arrays(2, queries, keys, 3, 8, dtype)
    assert choices.choose("cpu", Sizes(given[0].dtype, queries, keys, 8)) == "cpu"
    found = attending.value_and_gradients(attention, *given)
    assert {x.dtype for x in found} == {jnp.dtype(dtype)}
    exact = (x.astype(jnp.float32) for x in given)
    expected = attending.value_and_gradients(blocked.attention, *exact)
    attending.assert_near(found, expected, tolerance)
