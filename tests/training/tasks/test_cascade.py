"""The cascade task: the conditions of a stage's network, warm starts, and training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax import trees
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.data.transforms import to_float
from videogen_jax.diffusion.process import noise_level, noise_tables
from videogen_jax.pipeline.conditioning import upsample
from videogen_jax.training.tasks import cascade
from videogen_jax.training.tasks.cascade import CascadeTask, CascadeTaskConfig

BLOCK_TOLERANCE = 1e-5
NETWORK_TOLERANCE = 1e-4
NUM_CLIPS = 4
STAGE_1, STAGE_2 = (stage.resolution for stage in MICRO.stages[:2])
Z = MICRO.autoencoder.latent_channels


@pytest.fixture(scope="module")
def batch():
    source = ShapesClips("train", NUM_CLIPS, resolution=32, num_frames=MICRO.num_frames)
    return tiny_model.batch_of(source, NUM_CLIPS)


@pytest.fixture(scope="module")
def cached(batch):
    """The batch with random latents in place of pixels."""
    rng = np.random.default_rng(0)
    sizes = {resolution: MICRO.latent_size(resolution) for resolution in (STAGE_1, STAGE_2)}
    latents = {
        f"latents_{resolution}": rng.normal(size=(NUM_CLIPS, MICRO.num_frames, size, size, Z))
        for resolution, size in sizes.items()
    }
    arrays = {name: array.astype(np.float32) for name, array in latents.items()}
    return arrays | {"tokens": batch["tokens"], "fps": batch["fps"]}


def make_task(stage: int = 2, warm_start_params=None, **changes) -> CascadeTask:
    config = CascadeTaskConfig(
        stage=stage, **{"text_dropout": 0.0, "posterior_noise": False} | changes
    )
    return config.build(task_context(MICRO, tiny_model.frozen(), warm_start=warm_start_params))


def image_params():
    return tiny_model.random_component("image_unet")


def test_the_network_is_conditioned_on_reference_low_res_prompt_and_fps(batch, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, cascade, make_task, batch)
    video = to_float(batch["video"])
    x0, below = tiny_model.encode(video, STAGE_2), tiny_model.encode(video, STAGE_1)
    np.testing.assert_allclose(seen["x0"], x0, atol=NETWORK_TOLERANCE)
    noisy, reference, low_res = np.split(seen["x"], 3, axis=-1)
    np.testing.assert_array_equal(noisy, np.full(x0.shape, tiny_model.NOISY))
    np.testing.assert_allclose(reference[:, 0], x0[:, 0], atol=NETWORK_TOLERANCE)
    assert not reference[:, 1:].any()
    np.testing.assert_allclose(low_res, upsample(below), atol=NETWORK_TOLERANCE)
    text = tiny_model.text_of(batch["tokens"])
    np.testing.assert_allclose(seen["text"], text.states_BTD, atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(seen["pooled_BD"], text.pooled_BD, atol=BLOCK_TOLERANCE)
    np.testing.assert_array_equal(seen["fps_B"], batch["fps"])
    np.testing.assert_array_equal(seen["low_res_noise_B"], np.zeros(NUM_CLIPS))


def test_stage_1_has_no_low_res(cached, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, cascade, lambda: make_task(stage=1), cached)
    np.testing.assert_array_equal(seen["x0"], cached[f"latents_{STAGE_1}"])
    assert seen["x"].shape[-1] == 2 * Z and "low_res_noise_B" not in seen


def test_conditions_are_dropped(cached, monkeypatch):
    changes = {"text_dropout": 1.0, "reference_dropout": 1.0}
    seen = tiny_model.recorded(monkeypatch, cascade, lambda: make_task(1, **changes), cached)
    assert not seen["x"][..., Z:].any()
    null = tiny_model.text_of(np.stack([tiny_model.NULL_TOKENS_T] * NUM_CLIPS))
    np.testing.assert_allclose(seen["text"], null.states_BTD, atol=BLOCK_TOLERANCE)
    np.testing.assert_allclose(seen["pooled_BD"], null.pooled_BD, atol=BLOCK_TOLERANCE)


def test_low_res_is_noised_by_the_level_the_network_is_conditioned_on(cached, monkeypatch):
    highest = MICRO.stages[1].schedule.num_train_timesteps - 1
    seen = tiny_model.recorded(
        monkeypatch, cascade, lambda: make_task(low_res_noise=highest), cached
    )
    levels = np.asarray(seen["low_res_noise_B"])
    assert len(set(levels)) > 1 and levels.min() >= 0 and levels.max() <= highest
    clean = upsample(cached[f"latents_{STAGE_1}"].astype(np.float32))
    alpha, sigma = noise_level(noise_tables(MICRO.stages[1].schedule), levels)
    eps = (seen["x"][..., 2 * Z :] - alpha.reshape(-1, 1, 1, 1, 1) * clean) / sigma.reshape(
        -1, 1, 1, 1, 1
    )
    np.testing.assert_allclose(eps.std(axis=(1, 2, 3, 4)), 1.0, rtol=0.3)
    assert jnp.abs(jnp.corrcoef(eps.reshape(NUM_CLIPS, -1)) - jnp.eye(NUM_CLIPS)).max() < 0.3


def test_latents_are_draws_of_the_posterior(cached, monkeypatch):
    """The latents of the stage and of the stage below are drawn with independent noise."""
    stds = {name.replace("s_", "s_std_"): 0.1 + abs(cached[name]) for name in cached if "_" in name}
    seen = tiny_model.recorded(
        monkeypatch, cascade, lambda: make_task(posterior_noise=True), cached | stds
    )
    above, below = f"latents_{STAGE_2}", f"latents_{STAGE_1}"
    noise = (seen["x0"] - cached[above]) / stds[f"latents_std_{STAGE_2}"]
    np.testing.assert_allclose(noise.mean(axis=(1, 2, 3, 4)), 0, atol=0.3)
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3, 4)), 1, atol=0.2)
    np.testing.assert_array_equal(seen["x"][:, 0, ..., Z : 2 * Z], seen["x0"][:, 0])
    low_res, std = seen["x"][..., 2 * Z :], upsample(stds[f"latents_std_{STAGE_1}"])
    of_below = (low_res - upsample(cached[below])) / std
    assert 0.3 < of_below.std() < 1  # bilinear upsampling reduces it
    assert (
        abs(np.corrcoef(noise[:, :, ::2, ::2].ravel(), of_below[:, :, ::2, ::2].ravel())[0, 1])
        < 0.2
    )


def test_joint_training_takes_first_frames_as_images(cached, monkeypatch):
    """The last call of the network is for images: one frame, no reference, otherwise the same."""
    task = lambda: make_task(image_weight=0.5)
    seen = tiny_model.recorded(monkeypatch, cascade, task, cached)
    first = cached[f"latents_{STAGE_2}"][:, :1].astype(np.float32)
    np.testing.assert_array_equal(seen["x0"], first)
    noisy, reference, low_res = np.split(seen["x"], 3, axis=-1)
    assert noisy.shape == first.shape and not reference.any()
    below = upsample(cached[f"latents_{STAGE_1}"].astype(np.float32))
    np.testing.assert_allclose(low_res, below[:, :1], atol=BLOCK_TOLERANCE)
    np.testing.assert_array_equal(seen["fps_B"], cached["fps"])


def test_the_loss_of_images_is_weighted(cached, monkeypatch):
    as_frames = lambda schedule, predict, x0, *_: (jnp.asarray(float(x0.shape[1])), {})
    monkeypatch.setattr(cascade, "denoising_loss", as_frames)
    keys = tiny_model.keys(tiny_model.key(), cached)
    for weight, expected in ((0.0, MICRO.num_frames), (0.5, MICRO.num_frames + 0.5)):
        task = make_task(1, image_weight=weight)
        loss, metrics = task.loss({}, task.frozen, cached, keys)
        assert loss == expected and ("image_loss" in metrics) == (weight > 0)
    with pytest.raises(ValueError, match="task.image_weight is -1"):
        CascadeTaskConfig(image_weight=-1)


def test_overfits_a_batch(cached):
    """On a corner of two frames."""
    task = make_task(warm_start_params=image_params())
    params = task.warm_start(tiny_model.random_params(task.init))
    corners = {
        f"latents_{resolution}": cached[f"latents_{resolution}"][:, :2, :size, :size]
        for resolution, size in ((STAGE_1, 2), (STAGE_2, 4))
    }
    _, metrics = tiny_model.overfit(task, params, cached | corners, 100, 1e-2)
    assert tiny_model.mean(metrics[-20:]) < 0.5 * tiny_model.mean(metrics[:10])
    assert tiny_model.mean(metrics[-50:], "error_quarter_3") < 0.4


def test_stage_1_starts_from_the_image_model(capsys):
    source = image_params()
    task = make_task(1, warm_start_params=source)
    fresh = tiny_model.random_component("stage_1", seed=1)
    started, fresh, source = (trees.flatten(x) for x in (task.warm_start(fresh), fresh, source))
    for path, value in started.items():
        if path == "conv_in/kernel":
            np.testing.assert_array_equal(value[:, :, :Z], source[path])
            assert not value[:, :, Z:].any()
        elif path in source:
            np.testing.assert_array_equal(value, source[path])
        else:
            assert "temporal_" in path
            np.testing.assert_array_equal(value, fresh[path])
    assert source.keys() < started.keys()
    report = capsys.readouterr().out
    assert "1 grown" in report and f"{len(source) - 1} copied" in report and "0 unused" in report


def test_stage_2_starts_from_stage_1():
    source = tiny_model.random_component("stage_1")
    task = make_task(2, warm_start_params=source)
    started = task.warm_start(tiny_model.random_component("stage_2", seed=1))
    kernel = started["conv_in"]["kernel"]
    np.testing.assert_array_equal(kernel[:, :, : 2 * Z], source["conv_in"]["kernel"])
    assert not kernel[:, :, 2 * Z :].any()
    for name in ("temporal_conv_out", "temporal_fps_embedding", "mid_block"):
        jax.tree.map(np.testing.assert_array_equal, started[name], source[name])


def test_a_warm_start_that_does_not_fit_lists_every_key():
    source = image_params()
    del source["conv_out"]
    source["conv_in"]["bias"] = np.zeros(3, np.float32)
    task = make_task(1, warm_start_params=source)
    with pytest.raises(ValueError, match="cannot load 3 parameters") as error:
        task.warm_start(tiny_model.random_component("stage_1"))
    for line in ("missing conv_out/bias", "missing conv_out/kernel", "conv_in/bias has shape (3,)"):
        assert line in str(error.value)


def test_without_a_warm_start_parameters_stay_as_initialised():
    params = {"as": "they are"}
    assert make_task(1).warm_start(params) is params


def test_components_are_named_by_stage():
    assert make_task(2).components({}) == {"stage_2": {}}


@pytest.mark.parametrize("stage", [0, 3])
def test_a_stage_that_the_model_lacks_is_an_error(stage):
    with pytest.raises(ValueError, match=rf"task.stage is {stage}, expected 1 .. 2.*'micro'"):
        make_task(stage)
