"""Which passes of the network a sampling call runs, and what it computes once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.parallel_sampling import CONFIG, OPTIONS, PROMPTS, make_model
from videogen_jax import VideoGen
from videogen_jax.pipeline import placement
from videogen_jax.pipeline.denoise import sampling_plan
from videogen_jax.pipeline.requests.image import make_image_request
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.telemetry.flops import count_flops

PROMPT, STEPS = "a red circle", 4
ROUNDING = 1e-5  # in images of [0, 1]


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture
def draw(model, monkeypatch) -> Callable[..., np.ndarray]:
    """Draws an image; `draw.steps` lists the steps that it took, each with its passes."""
    denoiser = model.cascade._image
    take, prepare = denoiser._take_steps, denoiser._prepare

    def images(**options: Any) -> np.ndarray:
        images.steps, images.prepared = [], []
        return model.images(PROMPT, as_float=True, steps=STEPS, **options)

    def recorded(*args: Any, passes: str | None, **kwargs: Any) -> Any:
        images.steps += [(step, passes) for step in range(*args[6:8])]
        return take(*args, passes=passes, **kwargs)

    def recorded_prepare(*args: Any, **kwargs: Any) -> Any:
        images.prepared.append(kwargs["passes"])
        return prepare(*args, **kwargs)

    monkeypatch.setattr(denoiser, "_take_steps", recorded)
    monkeypatch.setattr(denoiser, "_prepare", recorded_prepare)
    return images


def level(step: int) -> float:
    """Returns σ/α before a step of the image model."""
    table = sampling_plan(micro_model.MICRO.image, STEPS)
    return float(table.sigma_T[step] / table.alpha_T[step])


def test_what_no_step_changes_is_computed_once_in_a_call(draw):
    draw()
    assert draw.steps == [(step, "together") for step in range(STEPS)]
    assert draw.prepared == ["together"]


def test_outside_of_the_interval_there_is_no_guidance_pass(draw):
    whole, none = draw(), draw(guidance=1.0)
    assert draw.steps == [(step, None) for step in range(STEPS)]
    inside = draw(guidance_interval=(level(3), level(1)))
    assert draw.steps == [(0, None), (1, "together"), (2, "together"), (3, None)]
    assert np.abs(inside - whole).max() > 0.01 < np.abs(inside - none).max()
    np.testing.assert_array_equal(draw(guidance_interval=(level(3) / 2, 1e9)), whole)
    np.testing.assert_array_equal(draw(guidance_interval=(0.0, level(3) / 2)), none)


@pytest.mark.slow  # test_cascade.py compares the two without an interval
def test_an_interval_is_the_same_step_by_step_and_in_one_program(model):
    options: Any = {"steps": STEPS, "guidance_interval": (level(3), level(1))}
    request = make_image_request(micro_model.MICRO, PROMPT, **options)
    keys_B, states = model.images.encode(request)

    def sample(**extra: Any) -> jax.Array:
        given = micro_model.params(), states, keys_B
        return model.cascade.sample_image(*given, as_float=True, **options, **extra)

    np.testing.assert_allclose(sample(tick=lambda count: None), sample(), atol=ROUNDING)


def test_a_step_without_guidance_costs_half(model, monkeypatch):
    denoiser, traced = model.cascade._image, {}
    take = denoiser._take_steps

    def recorded(*args: Any, passes: str | None, **kwargs: Any) -> Any:
        traced[passes] = count_flops(take.trace(*args, passes=passes, **kwargs).jaxpr.jaxpr).total
        return take(*args, passes=passes, **kwargs)

    monkeypatch.setattr(denoiser, "_take_steps", recorded)
    for options in ({}, {"guidance": 1.0}, {"guidance_passes": "in_turn"}):
        model.images(PROMPT, steps=1, **options)
    assert traced["together"] == traced["in_turn"] == 2 * traced[None] > 0


def test_passes_in_turn_make_the_same_image(draw):
    together, in_turn = draw(), draw(guidance_passes="in_turn")
    assert draw.steps == [(step, "in_turn") for step in range(STEPS)]
    np.testing.assert_allclose(in_turn, together, atol=ROUNDING)


@pytest.mark.slow  # compiles for a mesh; test_devices.py has the passes of one batch on it
def test_passes_in_turn_and_an_interval_on_devices_that_share_a_clip(monkeypatch):
    monkeypatch.setattr(placement, "RULES", MeshConfig(min_sharded_bytes=1))
    options = OPTIONS | {"guidance_passes": "in_turn", "guidance_interval": (0.5, 5.0)}
    alone = make_model()(PROMPTS[0], **options)
    shared = make_model(make_mesh(MeshConfig(1, 2, 4)))
    with micro_model.counting_compilations() as compiled:
        video = shared(PROMPTS[0], **options)
    assert np.abs(alone.frames.astype(int) - video.frames).max() <= 1
    assert compiled.count("jit(_sample)") == 2 * len(CONFIG.stages)  # with guidance and without
