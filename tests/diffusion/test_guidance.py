"""Classifier-free guidance: on a doubled batch, in turn, and in an interval of noise levels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.diffusion.guidance import guided, guided_in_turn, step_ranges
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.samplers import plan
from videogen_jax.diffusion.schedule import ScheduleConfig

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


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_passes_in_turn_are_those_of_the_doubled_batch(rescale: float) -> None:
    expected = guided(model_fn, 7.5, rescale)(X, TIMESTEPS, COND)
    halves = jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), COND)
    batches = []

    def recorded(x: jax.Array, timesteps: jax.Array, cond: Any) -> jax.Array:
        batches.append(len(x))
        return model_fn(x, timesteps, cond)

    ours = guided_in_turn(recorded, 7.5, rescale)(X, TIMESTEPS, halves)
    np.testing.assert_allclose(ours, expected, atol=BLOCK_TOLERANCE)
    assert set(batches) == {3}  # not 6


PLAN = jax.tree.map(np.asarray, plan(ScheduleConfig(), SamplerConfig("euler", 4, "linspace")))
# σ/α before each step, at timesteps 999, 666, 333 and 0 of Stable Diffusion.
LEVELS = (14.61, 2.92, 0.93, 0.03)


@pytest.mark.parametrize(
    ("first", "scale", "interval", "expected"),
    [
        (0, 3.0, None, [(0, 4, True)]),
        (1, 3.0, None, [(1, 4, True)]),
        (0, 1.0, None, [(0, 4, False)]),
        (2, 1.0, (0.5, 5.0), [(2, 4, False)]),
        (0, 3.0, (0.5, 5.0), [(0, 1, False), (1, 3, True), (3, 4, False)]),
        (1, 3.0, (0.5, 5.0), [(1, 3, True), (3, 4, False)]),
        (2, 3.0, (0.5, 5.0), [(2, 3, True), (3, 4, False)]),
        (3, 3.0, (0.5, 5.0), [(3, 4, False)]),
        (0, 3.0, (0.0, 100.0), [(0, 4, True)]),
        (0, 3.0, (20.0, 100.0), [(0, 4, False)]),
        (0, 3.0, (2.0, 100.0), [(0, 2, True), (2, 4, False)]),
    ],
)
def test_guidance_is_for_the_steps_within_the_interval(first, scale, interval, expected) -> None:
    found = PLAN.sigma_T[:4] / PLAN.alpha_T[:4]
    np.testing.assert_allclose(found, LEVELS, atol=0.01)
    assert step_ranges(PLAN, first, 4, scale, interval) == expected


def test_the_upper_level_is_within_the_interval_and_the_lower_one_is_not() -> None:
    high, low = (float(PLAN.sigma_T[i] / PLAN.alpha_T[i]) for i in (1, 3))
    expected = [(0, 1, False), (1, 3, True), (3, 4, False)]
    assert step_ranges(PLAN, 0, 4, 3.0, (low, high)) == expected


def test_rescale_outside_its_range_is_an_error() -> None:
    for make in (guided, guided_in_turn):
        with pytest.raises(ValueError, match="guidance_rescale is 1.5"):
            make(model_fn, 7.5, guidance_rescale=1.5)
