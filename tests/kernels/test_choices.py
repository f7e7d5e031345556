"""The table of kernels, the choice by hand, and the record of what was taken."""

import jax
import jax.numpy as jnp
import pytest

from tests.support import attending
from videogen_jax import layout, sharding
from videogen_jax.errors import UserError
from videogen_jax.kernels import choices, cudnn
from videogen_jax.kernels.attention import attention
from videogen_jax.kernels.sizes import Sizes

BF16, F32 = jnp.dtype("bfloat16"), jnp.dtype("float32")
# Attention of Stable Diffusion's UNet and of 16 frames: queries, keys, features of a head.
PIXELS, SMALL, TEXT, FRAMES = (4096, 4096, 40), (256, 256, 160), (4096, 77, 40), (16, 16, 40)


@pytest.mark.parametrize(
    ("platform", "dtype", "sizes", "kernel"),
    [
        ("cuda", BF16, PIXELS, "cudnn"),
        ("cuda", BF16, SMALL, "blocked"),
        ("cuda", BF16, TEXT, "blocked"),
        ("cuda", F32, PIXELS, "blocked"),
        ("cuda", BF16, (4096, 4096, 512), "blocked"),  # the autoencoder's head
        ("tpu", BF16, PIXELS, "splash"),
        ("tpu", F32, PIXELS, "splash"),
        ("tpu", BF16, (4096, 4096, 512), "splash"),
        ("tpu", BF16, SMALL, "blocked"),
        ("tpu", BF16, TEXT, "blocked"),
        ("tpu", jnp.dtype("float16"), PIXELS, "blocked"),
        ("cpu", F32, PIXELS, "cpu"),
        ("cpu", F32, SMALL, "cpu"),
        ("cpu", F32, FRAMES, "blocked"),
        ("rocm", BF16, PIXELS, "blocked"),
    ],
)
@jax.default_matmul_precision("default")  # not that of conftest.py
def test_the_table(monkeypatch, platform, dtype, sizes, kernel):
    monkeypatch.setattr(cudnn, "_widest_head", lambda: 256)
    assert choices.choose(platform, Sizes(dtype, *sizes)) == kernel


def test_every_row_names_a_kernel_of_its_platform():
    assert {row.kernel for row in choices.TABLE} == set(choices.KERNELS)
    for row in choices.TABLE:
        assert choices.KERNELS[row.kernel].PLATFORM == row.platform


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("splash", "'splash' cannot compute 16 queries, .*: it is a kernel for tpu, .* is for cpu"),
        ("cudnn", "'cudnn' cannot compute 16 queries, .*: it is a kernel for cuda, .* is for cpu"),
    ],
)
def test_a_kernel_for_another_platform_is_refused(kernel, message):
    q, k, v, _ = attending.arrays(1, 16, 16, 2, 8)
    with pytest.raises(UserError, match=message):
        attention(q, k, v, kernel=kernel)


def test_sizes_that_a_kernel_does_not_take_are_refused():
    with pytest.raises(UserError, match="heads of 8 features: .* float32, got float16"):
        choices.check("splash", "tpu", Sizes(jnp.float16, 16, 16, 8))


@pytest.mark.parametrize("kernel", ["blocked", "cpu"])
def test_a_kernel_that_is_chosen_by_hand_is_taken(kernel):
    """Also where the table has another one: these sequences are too short for the CPU's kernel."""
    given = attending.arrays(1, 16, 16, 2, 8)
    function = lambda *qkv: attention(*qkv, kernel=kernel)
    with choices.recording() as taken:
        found = attending.value_and_gradients(function, *given)
    assert taken == {Sizes(F32, 16, 16, 8): kernel}
    attending.assert_near(found, attending.value_and_gradients(attention, *given), 1e-5)
    # The CPU's kernel is a loop over heads.
    text = str(jax.make_jaxpr(function)(*given[:3]))
    assert ("scan" in text) == (kernel == "cpu")


def test_what_is_taken_is_that_of_the_mesh():
    pixels = jax.ShapeDtypeStruct((8, 2048, 2, 8), jnp.float32)
    frames = jax.ShapeDtypeStruct((8, 16, 2, 8), jnp.float32)
    with choices.recording() as taken:
        with layout.activate(sharding.make_mesh(sharding.MeshConfig(data=1, frames=8))):
            jax.eval_shape(lambda q: attention(q, q, q, batch="batch"), pixels)
        jax.eval_shape(lambda q: attention(q, q, q), frames)
    assert choices.describe(taken) == ["blocked: 16 × 16 of 8", "cpu: 256 × 2048 of 8"]
