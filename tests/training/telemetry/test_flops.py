"""The FLOP counter, compared with numbers computed by hand, and the table of peaks."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from videogen_jax.training.telemetry.flops import count_flops, jaxpr_flops, peak_flops

shape = lambda *size: jax.ShapeDtypeStruct(size, jnp.float32)


def conv(x, kernel, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def test_products():
    # 5 × 7 results of 3 products each, in a batch of 2.
    count = jaxpr_flops(lambda a, b: a @ b, shape(2, 5, 3), shape(2, 3, 7))
    assert count.products == count.total == 2 * (2 * 5 * 7 * 3)
    assert count.convolutions == 0 and count.uncounted == ()
    scores = lambda q, k: jnp.einsum("btnd,bsnd->bnts", q, k)
    assert jaxpr_flops(scores, shape(2, 5, 4, 3), shape(2, 6, 4, 3)).total == 2 * 2 * 4 * 5 * 6 * 3


def test_convolutions():
    x, kernel = shape(2, 8, 6, 4), shape(3, 3, 4, 5)
    assert jaxpr_flops(conv, x, kernel).convolutions == 2 * (2 * 8 * 6 * 5) * (3 * 3 * 4)
    half = jaxpr_flops(lambda x, k: conv(x, k, stride=2), x, kernel)
    assert half.convolutions == 2 * (2 * 4 * 3 * 5) * (3 * 3 * 4)
    grouped = jaxpr_flops(lambda x, k: conv(x, k, groups=2), x, shape(3, 3, 2, 6))
    assert grouped.convolutions == 2 * (2 * 8 * 6 * 6) * (3 * 3 * 2)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_gradient_costs_twice_the_forward_pass(stride):
    x, kernel = shape(2, 8, 8, 4), shape(3, 3, 4, 5)
    loss = lambda x, k: jnp.square(conv(x, k, stride)).sum()
    forward = jaxpr_flops(loss, x, kernel).total
    assert jaxpr_flops(jax.grad(loss, argnums=(0, 1)), x, kernel).total == 3 * forward
    assert jaxpr_flops(jax.grad(loss, argnums=1), x, kernel).total == 2 * forward


def test_a_scan_counts_its_length_and_nests():
    def program(x, weights):
        def layer(x, w):
            twice, _ = lax.scan(lambda y, _: (y @ w, None), x, None, length=2)
            return jnp.tanh(twice), None

        return lax.scan(layer, x, weights)[0]

    one = 2 * 5 * 4 * 4
    assert jaxpr_flops(program, shape(5, 4), shape(3, 4, 4)).total == 3 * 2 * one
    jitted = jax.jit(program).trace(shape(5, 4), shape(3, 4, 4))
    assert count_flops(jitted.jaxpr.jaxpr).total == 3 * 2 * one


def test_what_is_computed_again_counts_again():
    loss = lambda x, w: jnp.sin(jnp.sin(x @ w) @ w).sum()
    x, w = shape(5, 4), shape(4, 4)
    plain = jaxpr_flops(jax.grad(loss, argnums=1), x, w).total
    again = jaxpr_flops(jax.grad(jax.checkpoint(loss), argnums=1), x, w).total
    assert again == plain + 2 * (2 * 5 * 4 * 4)


def test_branches_and_loops_of_unknown_length():
    dear, cheap = lambda x: x @ x @ x, lambda x: x @ x
    branch = lambda x: lax.cond(x[0, 0] > 0, cheap, dear, x)
    assert jaxpr_flops(branch, shape(4, 4)).total == 2 * 2 * 4**3
    loop = lambda x: lax.while_loop(lambda y: y[0, 0] < 1, cheap, x)
    count = jaxpr_flops(loop, shape(4, 4))
    assert count.total == 2 * 4**3 and count.uncounted == ("while",)


def test_of_branches_by_platform_the_default_counts():
    """A kernel of one platform may compute more, such as products with padding."""
    dear, cheap = lambda x: x @ x @ x, lambda x: x @ x
    branch = lambda x: lax.platform_dependent(x, tpu=dear, default=cheap)
    assert jaxpr_flops(branch, shape(4, 4)).total == 2 * 4**3
    both = jaxpr_flops(jax.grad(lambda x: branch(x).sum()), shape(4, 4))
    assert both.total == jaxpr_flops(jax.grad(lambda x: cheap(x).sum()), shape(4, 4)).total


def test_a_shard_map_counts_all_its_devices():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("x")
    product = jax.shard_map(
        lambda a, b: a @ b,
        mesh=mesh,
        in_specs=(spec, jax.sharding.PartitionSpec()),
        out_specs=spec,
    )
    assert jaxpr_flops(product, shape(16, 4), shape(4, 4)).total == 2 * 16 * 4 * 4


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("cpu", None),
        ("NVIDIA GeForce RTX 3090", None),
    ],
)
def test_peaks(kind, peak):
    assert peak_flops(kind) == peak
