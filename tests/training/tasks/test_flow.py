"""The flow task: its targets and its training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import examples_of, task_context
from videogen_jax import trees
from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.data.shapes.sources import ShapesHighFps
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.parameters import init_flow
from videogen_jax.models.warp import backward_warp
from videogen_jax.training.losses.flow import FlowLossConfig
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.task import ComputeConfig
from videogen_jax.training.tasks import flow
from videogen_jax.training.tasks.flow import FlowTask, FlowTaskConfig
from videogen_jax.weights.configured import add_configured

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


def recorded_targets(monkeypatch, task, batch):
    """Returns random parameters, and what the task compares the network's output with."""
    seen = {}

    def loss(output, target, features, flows, config):
        seen.update(mid=target, features=features, flows=flows)
        return jnp.zeros(()), {}

    monkeypatch.setattr(flow, "flow_loss", loss)
    params = tiny_model.random_params(task.init)

    @jax.jit
    def run(frozen, batch):
        task.loss(params, frozen, batch, tiny_model.key())
        return dict(seen)

    return params, run(task.frozen, batch)


def test_flow_targets_lead_from_the_middle_latents_to_both(triplets, monkeypatch):
    task = make_flow_task(triplets)
    params, targets = recorded_targets(monkeypatch, task, triplets)
    frames = to_float(np.stack([triplets["a"], triplets["mid"], triplets["b"]], axis=1))
    latents = tiny_model.encode(frames, RESOLUTION)
    np.testing.assert_allclose(targets["mid"], latents[:, 1], atol=NETWORK_TOLERANCE)
    # Small pictures in place of latents, since an untrained encoder does not preserve motion.
    a, mid, b = jnp.moveaxis(resize(frames, 8), 1, 0)
    for frame, flow_BHW2 in zip((a, b), targets["flows"], strict=True):
        right, none, back, far = (
            jnp.abs(backward_warp(frame, scale * flow_BHW2) - mid).mean() for scale in (1, 0, -1, 4)
        )
        assert right < 0.85 * none and right < back and right < far
    features = task._network.apply(
        {"params": params}, latents[:, 0], latents[:, 2], latents[:, 1], method="target_features"
    )
    for ours, expected in zip(targets["features"], features, strict=True):
        np.testing.assert_allclose(ours, expected, atol=NETWORK_TOLERANCE)


@pytest.mark.slow  # ten seconds; test_photometric.py finds a motion, a stage overfits a batch
def test_flow_overfits_a_batch(triplets):
    task = make_flow_task(triplets)
    params = tiny_model.random_params(task.init)
    params, metrics = tiny_model.overfit(task, params, triplets, 150, 3e-3)
    last = metrics[-1]
    assert last["loss"] < 0.5 * metrics[0]["loss"]
    assert last["charbonnier"] < 0.6 * last["charbonnier_of_average"]
    assert last["end_point_error"] < 0.6 * metrics[0]["end_point_error"]
    assert task.components(params) == {"flow": params}

    rows, fps, _ = task.samples(params, seed=0)
    assert rows.dtype == np.uint8 and rows.shape == (4, NUM_CLIPS, RESOLUTION, RESOLUTION, 3)
    assert fps is None
    third_row = rows[2, 0].astype(int)
    halved = triplets["mid"][0].reshape(RESOLUTION, 4, RESOLUTION, 4, 3).mean((1, 3))
    assert np.abs(third_row - halved).mean() < 10  # the true frame, resized differently


TEACHER = dataclasses.replace(MICRO.flow, in_channels=3)  # other sizes would do too
CLIPS = DataConfig(dataset="clips", resolution=64, num_frames=5)


def taught_task(data: DataConfig = CLIPS, teacher=TEACHER, **fields) -> FlowTask:
    params = tiny_model.random_params(lambda key: init_flow(key, teacher), seed=5)
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    config = FlowTaskConfig(FlowLossConfig(census_patch_size=3), teacher="DIR", **fields)
    network = (teacher, params)
    return config.build(task_context(MICRO, frozen, feature_network=network, data=data))


def test_the_targets_are_the_teachers_flows_at_the_latents_resolution(triplets, monkeypatch):
    task = taught_task()
    batch = {name: triplets[name] for name in ("a", "mid", "b")}
    batch["time"] = np.array([0.25, 0.5, 0.75, 0.5], np.float32)
    _, targets = recorded_targets(monkeypatch, task, batch)
    a, b = (batch[name] / np.float32(255) for name in ("a", "b"))
    network = LatentFlow(TEACHER)
    output = jax.jit(network.apply)({"params": task.frozen["pixel_flow"]}, a, b, batch["time"])
    size = MICRO.latent_size(RESOLUTION)
    for found, expected in zip(
        targets["flows"], (output.flow_a_BHW2, output.flow_b_BHW2), strict=True
    ):
        assert found.shape == (NUM_CLIPS, size, size, 2)
        shrunk = expected.reshape(NUM_CLIPS, size, 64 // size, size, 64 // size, 2).mean((2, 4))
        # The mean of each latent pixel's flows, in latent pixels; the filter is a little wider.
        assert np.corrcoef(found.ravel(), shrunk.ravel())[0, 1] > 0.95
        np.testing.assert_allclose(found.mean(), shrunk.mean() * size / 64, rtol=0.1)


def test_a_run_with_a_teacher_is_planned_without_its_parameters(tmp_path):
    params = tiny_model.random_params(lambda key: init_flow(key, TEACHER))
    add_configured(tmp_path / "teacher", "pixel_flow", TEACHER, params, None)
    (tmp_path / "teacher" / "pixel_flow.safetensors").unlink()
    run = RUNS["tiny-flow"]
    data = dataclasses.replace(run.data, dataset="clips")
    task = dataclasses.replace(run.task, teacher=str(tmp_path / "teacher"))
    compute = ComputeConfig("bfloat16")
    config = dataclasses.replace(run, data=data, task=task, compute=compute)
    planned, batch = abstract_task(config), batch_shapes(config)
    assert not {"flow_a", "flow_b"} & batch.keys()
    teacher = planned.frozen["pixel_flow"]
    assert {leaf.dtype for leaf in jax.tree.leaves(teacher)} == {jnp.dtype("bfloat16")}
    shapes = jax.eval_shape(planned.init, tiny_model.key())
    _, metrics = jax.eval_shape(planned.loss, shapes, planned.frozen, batch, tiny_model.key())
    assert {"distillation", "end_point_error"} <= metrics.keys()
    with pytest.raises(MissingFile, match="pixel_flow"):
        load_pixel_flow(tmp_path / "teacher")


def test_without_a_teacher_clips_have_no_target_flows(triplets):
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    config = FlowTaskConfig(FlowLossConfig(census_patch_size=3))
    task = config.build(task_context(MICRO, frozen, data=CLIPS))
    batch = {name: triplets[name] for name in ("a", "mid", "b", "time")}
    params = tiny_model.random_params(task.init)
    _, metrics = jax.eval_shape(task.loss, params, task.frozen, batch, tiny_model.key())
    parts = {"charbonnier", "census", "geometry", "charbonnier_of_average"}
    assert metrics.keys() == parts | {"photometric"}


def test_a_latent_cache_without_a_teacher_has_no_pixels_to_compare():
    context = task_context(MICRO, data=dataclasses.replace(CLIPS, latent_cache="cache"))
    with pytest.raises(UserError, match="data.latent_cache is 'cache', but the photometric loss"):
        FlowTaskConfig().build(context)


def test_the_flow_starts_from_the_teacher_where_shapes_agree():
    task = taught_task()
    shapes = jax.eval_shape(task.init, tiny_model.key())
    started, teacher = trees.flatten(task.warm_start(shapes)), task.frozen["pixel_flow"]
    for path, leaf in trees.flatten(teacher).items():
        if path.startswith(("encoder/pyramid1_0/conv/kernel", "decoder1/conv_out/")):
            assert isinstance(started[path], jax.ShapeDtypeStruct)
        else:
            np.testing.assert_array_equal(started[path], leaf)
    assert taught_task(start_from_teacher=False).warm_start(shapes) is shapes


@pytest.mark.parametrize(
    ("data", "teacher", "message"),
    [
        (DataConfig(), TEACHER, "task.teacher is 'DIR', but .* shapes, .* with their true flows"),
        (CLIPS, MICRO.flow, "DIR: the teacher takes frames of 4 channels, expected 3"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(data, teacher, message):
    with pytest.raises(UserError, match=message):
        taught_task(data, teacher)


def test_a_latent_cache_of_the_shapes_is_refused():
    context = task_context(MICRO, data=DataConfig(latent_cache="cache"))
    with pytest.raises(UserError, match="data.latent_cache is 'cache', but .* their true flows"):
        FlowTaskConfig().build(context)


@pytest.mark.parametrize("num_frames", [1, 2, 4])
def test_windows_without_a_middle_are_refused(num_frames):
    data = dataclasses.replace(CLIPS, num_frames=num_frames)
    with pytest.raises(UserError, match=f"num_frames is {num_frames}, expected an odd number"):
        FlowTaskConfig().clips_source(data, ())
