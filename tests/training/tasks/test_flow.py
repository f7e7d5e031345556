"""The flow task: its targets and its training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import examples_of, task_context
from videogen_jax.data.shapes.sources import ShapesHighFps
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.warp import backward_warp
from videogen_jax.training.losses.flow import FlowLossConfig
from videogen_jax.training.tasks import flow
from videogen_jax.training.tasks.flow import FlowTask, FlowTaskConfig

NETWORK_TOLERANCE = 1e-4
NUM_CLIPS = 4
RESOLUTION = MICRO.refiner.resolution


@pytest.fixture(scope="module")
def triplets():
    return tiny_model.batch_of(ShapesHighFps("train", NUM_CLIPS, resolution=64), NUM_CLIPS)


def make_flow_task(triplets) -> FlowTask:
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    config = FlowTaskConfig(FlowLossConfig(census_patch_size=3, distillation_weight=0.1))
    return config.build(task_context(MICRO, frozen, examples=examples_of(triplets)))


def test_flow_targets_lead_from_the_middle_latents_to_both(triplets, monkeypatch):
    targets_seen = {}

    def loss(output, target, features, flow_a, flow_b, config):
        targets_seen.update(mid=target, features=features, flow_a=flow_a, flow_b=flow_b)
        return jnp.zeros(()), {}

    monkeypatch.setattr(flow, "flow_loss", loss)
    task = make_flow_task(triplets)
    params = tiny_model.random_params(task.init)

    @jax.jit
    def run(frozen, batch):
        task.loss(params, frozen, batch, tiny_model.key())
        return dict(targets_seen)

    targets = run(task.frozen, triplets)
    frames = to_float(np.stack([triplets["a"], triplets["mid"], triplets["b"]], axis=1))
    latents = tiny_model.encode(frames, RESOLUTION)
    np.testing.assert_allclose(targets["mid"], latents[:, 1], atol=NETWORK_TOLERANCE)
    # Small pictures in place of latents, since an untrained encoder does not preserve motion.
    a, mid, b = jnp.moveaxis(resize(frames, 8), 1, 0)
    for frame, flow_BHW2 in ((a, targets["flow_a"]), (b, targets["flow_b"])):
        right, none, back, far = (
            jnp.abs(backward_warp(frame, scale * flow_BHW2) - mid).mean() for scale in (1, 0, -1, 4)
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
    halved = triplets["mid"][0].reshape(RESOLUTION, 4, RESOLUTION, 4, 3).mean((1, 3))
    assert np.abs(third_row - halved).mean() < 10  # the true frame, resized differently
