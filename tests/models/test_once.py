"""What a UNet computes once per sample, of its text and other conditions."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import trees
from videogen_jax.models.embedding import EmbeddedInputs, time_embeddings
from videogen_jax.models.once import ONCE
from videogen_jax.models.precompute import precompute
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.training.telemetry.flops import jaxpr_flops

CONFIG = micro_model.MICRO.stages[1].unet  # text, fps, frame indices and low-res noise
CLIPS, FRAMES, TOKENS = 2, 3, 5
NETWORK: Any = SpaceTimeUNet(CONFIG)
ROUNDING = 1e-6  # of outputs of order 1


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


PARAMS = micro_model.params()["stage_2"]
X_BFHWC = normal(CLIPS, FRAMES, 4, 4, CONFIG.in_channels)
TIMESTEPS_B = np.array([3.0, 700.5], np.float32)
TEXT_BTD = normal(CLIPS, TOKENS, CONFIG.cross_attention_dim)
CONDITIONS = {
    "pooled_BD": normal(CLIPS, 16),
    "fps_B": np.array([8.0, 24.0], np.float32),
    "low_res_noise_B": np.array([0, 50]),
}


def plain(params: Any, x: Any) -> jax.Array:
    return NETWORK.apply({"params": params}, x, TIMESTEPS_B, TEXT_BTD, **CONDITIONS)


def computed(params: Any) -> Any:
    inputs = EmbeddedInputs(jnp.zeros(CLIPS), **CONDITIONS)
    return {ONCE: precompute(CONFIG, params, jnp.asarray(TEXT_BTD), inputs, FRAMES)}


def computed_by_the_network(params: Any) -> Any:
    x = jnp.zeros((CLIPS, FRAMES, 1, 1, CONFIG.in_channels))  # of any size
    given = x, jnp.zeros(CLIPS), TEXT_BTD
    return NETWORK.apply({"params": params}, *given, **CONDITIONS, mutable=[ONCE])[1]


def with_computed(params: Any, found: Any, embedded_BD: Any, x: Any) -> jax.Array:
    """Has no conditions but in `found`; the text is another one of the same shape."""
    return NETWORK.apply({"params": params, **found}, x, embedded_BD, jnp.zeros_like(TEXT_BTD))


def test_a_network_with_what_was_computed_once_is_the_plain_one():
    @jax.jit  # of both, to compile once
    def run(params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
        embedded_BD = time_embeddings(CONFIG, params, jnp.asarray(TIMESTEPS_B))
        return with_computed(params, computed(params), embedded_BD, x), plain(params, x)

    ours, expected = run(PARAMS, X_BFHWC)
    np.testing.assert_allclose(ours, expected, atol=ROUNDING * np.abs(expected).max())


def test_it_is_what_the_whole_network_would_store():
    found, expected = (
        jax.eval_shape(function, PARAMS) for function in (computed, computed_by_the_network)
    )
    assert trees.flatten(found) == trees.flatten(expected)
    assert sum("keys_and_values" in path for path in trees.paths(found)) == 2  # of one layer


def test_the_text_and_the_embeddings_cost_nothing_afterwards():
    found = jax.eval_shape(computed, PARAMS)
    embedded_BD = jax.ShapeDtypeStruct((CLIPS, 4 * CONFIG.block_out_channels[0]), np.float32)
    whole = jaxpr_flops(plain, PARAMS, X_BFHWC)
    rest = jaxpr_flops(with_computed, PARAMS, found, embedded_BD, X_BFHWC)
    rows = {
        r".*/attn2/to_[kv]/kernel": CLIPS * TOKENS,
        r"(time|temporal_fps|low_res_noise)_embedding/.*kernel": CLIPS,
        r"temporal_frame_embedding/text_proj/kernel": CLIPS,
        r"temporal_frame_embedding/mlp/.*kernel": CLIPS * FRAMES,
    }
    kernels = trees.flatten(PARAMS)
    saved = 0
    for pattern, count in rows.items():
        matching = [path for path in kernels if re.fullmatch(pattern, path)]
        assert matching, pattern
        saved += sum(2 * count * math.prod(kernels[path].shape) for path in matching)
    assert whole.total - rest.total == saved


def test_training_stores_nothing_and_initialisation_returns_parameters_alone():
    _, kept = jax.eval_shape(
        lambda params: NETWORK.apply(
            {"params": params}, X_BFHWC, TIMESTEPS_B, TEXT_BTD, **CONDITIONS, mutable=["other"]
        ),
        PARAMS,
    )
    assert not kept
    x = X_BFHWC[:, :1, :1, :1]
    variables = jax.eval_shape(
        lambda key: NETWORK.init(key, x, TIMESTEPS_B, TEXT_BTD, **CONDITIONS), jax.random.key(0)
    )
    assert list(variables) == ["params"]


def test_conditions_that_were_not_computed_are_needed():
    with pytest.raises(ValueError, match="needs the condition fps_B"):
        jax.eval_shape(
            lambda params: NETWORK.apply({"params": params}, X_BFHWC, TIMESTEPS_B, TEXT_BTD), PARAMS
        )
