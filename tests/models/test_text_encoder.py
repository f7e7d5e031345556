"""The text transformer; weights/stable_diffusion/test_parity.py compares it with CLIP's."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig

END, START = 29, 28
CONFIG = TextEncoderConfig(
    vocab_size=30,
    max_length=7,
    hidden_size=16,
    intermediate_size=24,
    num_layers=3,
    num_heads=2,
    eos_token_id=END,
)
BLOCK_TOLERANCE = 1e-5
# bfloat16 keeps 8 bits, and errors add up over the layers.
BFLOAT16_TOLERANCE = 0.1

TOKENS_BT = jnp.array([[START, 3, 4, 5, END, END, END], [START, 6, END, END, END, END, END]])

_apply = jax.jit(lambda params, tokens_BT: TextEncoder(CONFIG).apply(params, tokens_BT))


@pytest.fixture(scope="module")
def params():
    return jax.jit(TextEncoder(CONFIG).init)(jax.random.key(0), TOKENS_BT)


def test_pooled_is_the_state_at_the_first_end_of_text(params):
    states_BTD, pooled_BD = _apply(params, TOKENS_BT)
    assert states_BTD.shape == (2, 7, 16)
    np.testing.assert_array_equal(pooled_BD[0], states_BTD[0, 4])
    np.testing.assert_array_equal(pooled_BD[1], states_BTD[1, 2])


def test_no_token_sees_a_later_one(params):
    changed_BT = TOKENS_BT.at[:, 3].set(7)
    before_BTD, after_BTD = (
        _apply(params, tokens).states_BTD for tokens in (TOKENS_BT, changed_BT)
    )
    np.testing.assert_array_equal(before_BTD[:, :3], after_BTD[:, :3])
    assert (jnp.abs(before_BTD - after_BTD)[:, 3:].max(axis=-1) > BLOCK_TOLERANCE).all()


def test_positions_matter(params):
    same_BTD = _apply(params, jnp.full((1, 7), 3)).states_BTD
    assert jnp.abs(same_BTD[0, 0] - same_BTD[0, 1]).max() > BLOCK_TOLERANCE


def test_shorter_texts_run(params):
    short_BTD = jax.jit(TextEncoder(CONFIG).apply)(params, TOKENS_BT[:, :4]).states_BTD
    np.testing.assert_allclose(
        short_BTD, _apply(params, TOKENS_BT).states_BTD[:, :4], atol=BLOCK_TOLERANCE
    )


def test_skipping_layers_is_a_shorter_encoder_for_the_states(params):
    skipping = dataclasses.replace(CONFIG, skip_last_layers=1)
    shorter = dataclasses.replace(CONFIG, num_layers=2)
    skipped = jax.jit(TextEncoder(skipping).apply)(params, TOKENS_BT)
    # The shorter encoder takes parameters by name and ignores those of the last layer.
    expected = jax.jit(TextEncoder(shorter).apply)(params, TOKENS_BT)
    np.testing.assert_allclose(skipped.states_BTD, expected.states_BTD, atol=BLOCK_TOLERANCE)
    full = _apply(params, TOKENS_BT)
    np.testing.assert_allclose(skipped.pooled_BD, full.pooled_BD, atol=BLOCK_TOLERANCE)
    assert jnp.abs(skipped.states_BTD - full.states_BTD).max() > BLOCK_TOLERANCE


def test_compute_dtype_leaves_parameters_float32(params):
    half = TextEncoder(CONFIG, jnp.bfloat16)
    initial = jax.eval_shape(half.init, jax.random.key(0), TOKENS_BT)
    assert {leaf.dtype for leaf in jax.tree.leaves(initial)} == {jnp.dtype(jnp.float32)}
    states = jax.jit(half.apply)(params, TOKENS_BT)
    assert states.states_BTD.dtype == states.pooled_BD.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        states.states_BTD.astype(jnp.float32),
        _apply(params, TOKENS_BT).states_BTD,
        atol=BFLOAT16_TOLERANCE,
    )


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (TextEncoderConfig(), 123_060_480),  # CLIP ViT-L/14, Stable Diffusion 1
        (
            TextEncoderConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_layers=23,
                num_heads=16,
                activation="gelu",
            ),
            340_387_840,  # OpenCLIP ViT-H/14 without its last layer, Stable Diffusion 2
        ),
    ],
)
def test_real_sizes_have_the_published_number_of_parameters(config, count):
    tokens_BT = jax.ShapeDtypeStruct((1, 77), jnp.int32)
    params = jax.eval_shape(TextEncoder(config).init, jax.random.key(0), tokens_BT)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count


def test_text_beyond_the_position_embeddings_is_an_error(params):
    with pytest.raises(ValueError, match="text of 8 tokens, but this text encoder takes at most 7"):
        TextEncoder(CONFIG).apply(params, jnp.zeros((1, 8), jnp.int32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 3}, "hidden_size=16 is not divisible by num_heads=3"),
        ({"activation": "relu"}, "activation='relu', expected quick_gelu or gelu"),
        ({"skip_last_layers": 3}, "skip_last_layers=3, expected 0 to num_layers - 1 = 2"),
    ],
)
def test_sizes_that_cannot_be_are_errors(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)
