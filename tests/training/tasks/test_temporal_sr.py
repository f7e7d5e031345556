"""The flow and refiner tasks: their targets, what they are told, and that they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from videogen_jax.configs.tiny import TINY
from videogen_jax.data.shapes.sources import ShapesClips, ShapesHighFps
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.warp import backward_warp
from videogen_jax.pipeline.temporal_sr import slerp_midpoints
from videogen_jax.training.losses.flow import FlowLossConfig
from videogen_jax.training.tasks import temporal_sr
from videogen_jax.training.tasks.temporal_sr import (
    FlowTask,
    FlowTaskConfig,
    RefinerTask,
    RefinerTaskConfig,
    interpolate,
)

BLOCK_TOLERANCE = 1e-5
NETWORK_TOLERANCE = 1e-4
NUM_CLIPS = 4
NUM_FRAMES = 3  # of the low-fps clip
RESOLUTION = TINY.refiner.resolution
Z = TINY.autoencoder.latent_channels

_interpolate = jax.jit(interpolate, static_argnums=0)


@pytest.fixture(scope="module")
def triplets():
    return tiny_model.batch_of(ShapesHighFps("train", NUM_CLIPS, resolution=64), NUM_CLIPS)


@pytest.fixture(scope="module")
def clips():
    source = ShapesClips("train", NUM_CLIPS, resolution=64, num_frames=2 * NUM_FRAMES - 1)
    return tiny_model.batch_of(source, NUM_CLIPS)


def make_flow_task(triplets) -> FlowTask:
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    config = FlowTaskConfig(FlowLossConfig(census_patch_size=3, distillation_weight=0.1))
    return FlowTask(config, TINY, frozen, triplets)


def make_refiner_task(warm_start_params=None) -> RefinerTask:
    arguments = (
        RefinerTaskConfig(posterior_noise=False),
        TINY,
        tiny_model.frozen(),
        tiny_model.NULL_TOKENS_T,
    )
    return RefinerTask(*arguments, lambda *_: None, warm_start_params)


def make_ablated_task() -> RefinerTask:
    """Without a flow, which slerp does not need."""
    config = RefinerTaskConfig(posterior_noise=False, interpolation="slerp")
    frozen = {name: tree for name, tree in tiny_model.frozen().items() if name != "flow"}
    return RefinerTask(config, TINY, frozen, tiny_model.NULL_TOKENS_T, lambda *_: None, None)


def test_flow_targets_lead_from_the_middle_latents_to_both(triplets, monkeypatch):
    given = {}

    def loss(output, target, features, flow_a, flow_b, config):
        given.update(mid=target, features=features, flow_a=flow_a, flow_b=flow_b)
        return jnp.zeros(()), {}

    monkeypatch.setattr(temporal_sr, "flow_loss", loss)
    task = make_flow_task(triplets)
    params = tiny_model.random_params(task.init)

    @jax.jit
    def run(frozen, batch):
        task.loss(params, frozen, batch, tiny_model.key())
        return dict(given)

    targets = run(task.frozen, triplets)
    frames = to_float(np.stack([triplets["a"], triplets["mid"], triplets["b"]], axis=1))
    latents = tiny_model.encode(frames, RESOLUTION)
    np.testing.assert_allclose(targets["mid"], latents[:, 1], atol=NETWORK_TOLERANCE)
    # Small pictures in the place of latents, since an untrained encoder does not keep motion.
    a, mid, b = jnp.moveaxis(resize(frames, 8), 1, 0)
    for frame, flow in ((a, targets["flow_a"]), (b, targets["flow_b"])):
        right, none, back, far = (
            jnp.abs(backward_warp(frame, scale * flow) - mid).mean() for scale in (1, 0, -1, 4)
        )
        assert right < 0.85 * none and right < back and right < far
    features = task._network.apply(
        {"params": params}, latents[:, 0], latents[:, 2], latents[:, 1], method="target_features"
    )
    for ours, expected in zip(targets["features"], features, strict=True):
        np.testing.assert_allclose(ours, expected, atol=NETWORK_TOLERANCE)


def test_flow_overfits_a_batch(triplets):
    task = make_flow_task(triplets)
    params = tiny_model.random_params(task.init)
    params, metrics = tiny_model.overfit(task, params, triplets, 150, 3e-3)
    last = metrics[-1]
    assert last["loss"] < 0.5 * metrics[0]["loss"]
    assert last["charbonnier"] < 0.6 * last["charbonnier_of_average"]
    assert last["end_point_error"] < 0.6 * metrics[0]["end_point_error"]
    assert task.components(params) == {"flow": params}

    rows, fps = task.samples(params, seed=0)
    assert rows.dtype == np.uint8 and rows.shape == (4, NUM_CLIPS, RESOLUTION, RESOLUTION, 3)
    assert fps is None
    third_row = rows[2, 0].astype(int)
    halved = triplets["mid"][0].reshape(RESOLUTION, 2, RESOLUTION, 2, 3).mean((1, 3))
    assert np.abs(third_row - halved).mean() < 10  # the true frame, resized otherwise


def test_refiner_is_told_the_warped_frames_and_nothing_else(clips, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, temporal_sr, make_refiner_task, clips)
    latents = tiny_model.encode(to_float(clips["video"]), RESOLUTION)
    assert seen["x0"].shape == (NUM_CLIPS, NUM_FRAMES - 1, 8, 8, Z)
    np.testing.assert_allclose(seen["x0"], latents[:, 1::2], atol=NETWORK_TOLERANCE)
    noisy, reference, low_res = np.split(seen["x"], 3, axis=-1)
    assert (noisy == tiny_model.NOISY).all() and not reference.any()
    warped = _interpolate(TINY, tiny_model.frozen()["flow"], latents[:, ::2])
    np.testing.assert_allclose(low_res, warped, atol=NETWORK_TOLERANCE)
    null = tiny_model.text_of(np.stack([tiny_model.NULL_TOKENS_T] * NUM_CLIPS))
    np.testing.assert_allclose(seen["text"], null.states_BTD, atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(seen["pooled_BD"], null.pooled_BD, atol=BLOCK_TOLERANCE)
    np.testing.assert_array_equal(seen["fps_B"], clips["fps"])
    np.testing.assert_array_equal(seen["low_res_noise_B"], np.zeros(NUM_CLIPS))


def test_the_ablated_refiner_is_told_what_slerp_finds(clips, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, temporal_sr, make_ablated_task, clips)
    latents = tiny_model.encode(to_float(clips["video"]), RESOLUTION)
    found = slerp_midpoints({}, latents[:, ::2])
    np.testing.assert_allclose(np.split(seen["x"], 3, axis=-1)[2], found, atol=NETWORK_TOLERANCE)


def test_refiner_takes_cached_latents(clips, monkeypatch):
    latents = np.random.default_rng(0).normal(size=(NUM_CLIPS, 2 * NUM_FRAMES - 1, 8, 8, Z))
    cached = {"fps": clips["fps"], f"latents_{RESOLUTION}": latents.astype(np.float16)}
    seen = tiny_model.recorded(monkeypatch, temporal_sr, make_refiner_task, cached)
    np.testing.assert_array_equal(seen["x0"], cached[f"latents_{RESOLUTION}"][:, 1::2])


def test_interpolation_is_between_neighbours_of_one_clip():
    latents = jax.random.normal(tiny_model.key(), (2, NUM_FRAMES, 8, 8, Z))
    flow = tiny_model.frozen()["flow"]
    warped = _interpolate(TINY, flow, latents)
    assert warped.shape == (2, NUM_FRAMES - 1, 8, 8, Z)
    changed = _interpolate(TINY, flow, latents.at[0, 2].add(1.0))
    np.testing.assert_array_equal(changed[1], warped[1])
    np.testing.assert_array_equal(changed[0, 0], warped[0, 0])
    assert (changed[0, 1] != warped[0, 1]).any()


def test_interpolation_passes_no_gradient_to_the_flow():
    def total(flow):
        return interpolate(TINY, flow, jnp.ones((1, 2, 8, 8, Z))).sum()

    gradient = jax.jit(jax.grad(total))(tiny_model.frozen()["flow"])
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_refiner_overfits_a_batch(clips):
    stage = tiny_model.random_params(make_refiner_task().init)
    task = make_refiner_task(stage)
    params = task.warm_start(tiny_model.random_params(task.init, seed=1))
    jax.tree.map(np.testing.assert_array_equal, params, stage)
    params, metrics = tiny_model.overfit(task, params, clips, 170, 5e-3)
    assert tiny_model.mean(metrics[-20:]) < 0.5 * tiny_model.mean(metrics[:10])
    assert len({values["warp_error"] for values in metrics}) == 1
    assert task.components(params) == {"refiner": params}
