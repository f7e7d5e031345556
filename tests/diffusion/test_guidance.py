"""Classifier-free guidance on a doubled batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.diffusion.guidance import guided

torch = import_reference("torch")
pipeline_stable_diffusion = import_reference(
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
)

BLOCK_TOLERANCE = 1e-5

X = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 2))
TIMESTEPS = jnp.array([1.0, 2.0, 3.0])
TEXT = jax.random.normal(jax.random.key(1), (6, 2))
COND = {"text": TEXT, "fps": jnp.arange(6.0)}


def model_fn(x: jax.Array, timesteps: jax.Array, cond: Any) -> jax.Array:
    """Replaces a network; its output depends on every input, sample by sample."""
    level = timesteps + cond["fps"]
    return jnp.sin(x * cond["text"][:, None, None, None, :] + level[:, None, None, None, None])


def half(index: int) -> jax.Array:
    """Returns the model's output for the unconditional (0) or the conditional (1) half of COND."""
    cond = jax.tree.map(lambda leaf: leaf[3 * index : 3 * index + 3], COND)
    return model_fn(X, TIMESTEPS, cond)


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5])
def test_guidance_extrapolates_from_unconditional_to_conditional(scale: float) -> None:
    ours = guided(model_fn, scale)(X, TIMESTEPS, COND)
    expected = half(0) + scale * (half(1) - half(0))
    np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)


def test_each_sample_may_have_its_own_scale() -> None:
    ours = guided(model_fn, jnp.array([0.0, 1.0, 7.5]))(X, TIMESTEPS, COND)
    for i, scale in enumerate([0.0, 1.0, 7.5]):
        alone = guided(model_fn, scale)(X, TIMESTEPS, COND)[i]
        np.testing.assert_allclose(ours[i], alone, atol=BLOCK_TOLERANCE)


def test_another_scale_does_not_compile_again() -> None:
    traces = []

    @jax.jit
    def run(scale: jax.Array) -> jax.Array:
        traces.append(scale)
        return guided(model_fn, scale)(X, TIMESTEPS, COND)

    outputs = [run(jnp.asarray(scale)) for scale in (1.0, 7.5)]
    assert len(traces) == 1 and not jnp.allclose(*outputs)


def test_rescale_agrees_with_diffusers() -> None:
    plain = guided(model_fn, 7.5)(X, TIMESTEPS, COND)
    ours = guided(model_fn, 7.5, guidance_rescale=0.7)(X, TIMESTEPS, COND)
    expected = pipeline_stable_diffusion.rescale_noise_cfg(
        torch.from_numpy(np.array(plain)), torch.from_numpy(np.array(half(1))), guidance_rescale=0.7
    )
    np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)


def test_rescale_outside_its_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="guidance_rescale is 1.5"):
        guided(model_fn, 7.5, guidance_rescale=1.5)
