"""The refiner task: its target, the conditions of its network, and its training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.data.transforms import to_float
from videogen_jax.pipeline.temporal_sr import slerp_midpoints
from videogen_jax.training.tasks import refiner
from videogen_jax.training.tasks.refiner import (
    RefinerTask,
    RefinerTaskConfig,
    missing_frames,
    refiner_data,
)

BLOCK_TOLERANCE = 1e-5
NETWORK_TOLERANCE = 1e-4
NUM_CLIPS = 4
NUM_FRAMES = 3  # number of frames of the low-fps clip
RESOLUTION = MICRO.refiner.resolution
Z = MICRO.autoencoder.latent_channels
DATA = refiner_data(MICRO)


@jax.jit
def interpolated(latents_BNHWZ):
    return missing_frames(MICRO, tiny_model.frozen(), latents_BNHWZ, "flow")


@pytest.fixture(scope="module")
def clips():
    source = ShapesClips("train", NUM_CLIPS, resolution=64, num_frames=2 * NUM_FRAMES - 1)
    return tiny_model.batch_of(source, NUM_CLIPS)


def make_refiner_task(warm_start_params=None) -> RefinerTask:
    config = RefinerTaskConfig(posterior_noise=False)
    context = task_context(MICRO, tiny_model.frozen(), warm_start=warm_start_params, data=DATA)
    return config.build(context)


def make_ablated_task() -> RefinerTask:
    """Returns a task without a flow, which slerp does not need."""
    config = RefinerTaskConfig(posterior_noise=False, interpolation="slerp")
    frozen = {name: tree for name, tree in tiny_model.frozen().items() if name != "flow"}
    return config.build(task_context(MICRO, frozen, data=DATA))


def test_refiner_is_conditioned_on_the_warped_frames_alone(clips, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, refiner, make_refiner_task, clips)
    latents = tiny_model.encode(to_float(clips["video"]), RESOLUTION)
    assert seen["x0"].shape == (NUM_CLIPS, NUM_FRAMES - 1, 8, 8, Z)
    np.testing.assert_allclose(seen["x0"], latents[:, 1::2], atol=NETWORK_TOLERANCE)
    noisy, reference, low_res = np.split(seen["x"], 3, axis=-1)
    assert (noisy == tiny_model.NOISY).all() and not reference.any()
    warped = interpolated(latents[:, ::2])
    np.testing.assert_allclose(low_res, warped, atol=NETWORK_TOLERANCE)
    null = tiny_model.text_of(np.stack([tiny_model.NULL_TOKENS_T] * NUM_CLIPS))
    np.testing.assert_allclose(seen["text"], null.states_BTD, atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(seen["pooled_BD"], null.pooled_BD, atol=BLOCK_TOLERANCE)
    np.testing.assert_array_equal(seen["fps_B"], clips["fps"])
    np.testing.assert_array_equal(seen["low_res_noise_B"], np.zeros(NUM_CLIPS))


@pytest.mark.parametrize("num_frames", [1, 2, 16])
def test_windows_without_a_frame_between_each_two_are_refused(num_frames):
    data = dataclasses.replace(DATA, num_frames=num_frames)
    message = f"data.num_frames is {num_frames}, expected an odd number from 3.*: 7 for this model"
    with pytest.raises(ValueError, match=message):
        RefinerTaskConfig().build(task_context(MICRO, tiny_model.frozen(), data=data))


def test_the_ablated_refiner_is_conditioned_on_slerp_interpolation(clips, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, refiner, make_ablated_task, clips)
    latents = tiny_model.encode(to_float(clips["video"]), RESOLUTION)
    found = slerp_midpoints({}, latents[:, ::2])
    np.testing.assert_allclose(np.split(seen["x"], 3, axis=-1)[2], found, atol=NETWORK_TOLERANCE)


def test_refiner_takes_cached_latents(clips, monkeypatch):
    latents = np.random.default_rng(0).normal(size=(NUM_CLIPS, 2 * NUM_FRAMES - 1, 8, 8, Z))
    cached = {"fps": clips["fps"], f"latents_{RESOLUTION}": latents.astype(np.float16)}
    seen = tiny_model.recorded(monkeypatch, refiner, make_refiner_task, cached)
    np.testing.assert_array_equal(seen["x0"], cached[f"latents_{RESOLUTION}"][:, 1::2])


def test_interpolation_is_between_neighbours_of_one_clip():
    latents = jax.random.normal(tiny_model.key(), (2, NUM_FRAMES, 8, 8, Z))
    warped = interpolated(latents)
    assert warped.shape == (2, NUM_FRAMES - 1, 8, 8, Z)
    changed = interpolated(latents.at[0, 2].add(1.0))
    np.testing.assert_array_equal(changed[1], warped[1])
    np.testing.assert_array_equal(changed[0, 0], warped[0, 0])
    assert (changed[0, 1] != warped[0, 1]).any()


def test_interpolation_passes_no_gradient_to_the_flow():
    def total(flow):
        return missing_frames(MICRO, {"flow": flow}, jnp.ones((1, 2, 8, 8, Z)), "flow").sum()

    gradient = jax.jit(jax.grad(total))(tiny_model.frozen()["flow"])
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow  # a stage, which is the same network, overfits a batch in test_cascade.py
def test_refiner_overfits_a_batch(clips):
    """On small cached latents, which need no autoencoder."""
    stage = tiny_model.random_component("stage_2")
    task = make_refiner_task(stage)
    params = task.warm_start(tiny_model.random_params(task.init, seed=1))
    jax.tree.map(np.testing.assert_array_equal, params, stage)
    latents = np.random.default_rng(0).normal(size=(NUM_CLIPS, 2 * NUM_FRAMES - 1, 4, 4, Z))
    cached = {"fps": clips["fps"], f"latents_{RESOLUTION}": latents.astype(np.float32)}
    params, metrics = tiny_model.overfit(task, params, cached, 120, 1e-2)
    assert tiny_model.mean(metrics[-20:]) < 0.5 * tiny_model.mean(metrics[:10])
    assert len({values["warp_error"] for values in metrics}) == 1
    assert task.components(params) == {"refiner": params}
