"""The video decoder task: warm start, losses and the networks that they train, training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import examples_of, task_context
from videogen_jax import trees
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips
from videogen_jax.models.discriminator import DiscriminatorConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTask, VideoDecoderTaskConfig

NETWORK_TOLERANCE = 1e-4
NUM_CLIPS, NUM_FRAMES = 2, 3
RESOLUTION = MICRO.stages[-1].resolution


@pytest.fixture(scope="module")
def batch():
    clips = ShapesClips("train", NUM_CLIPS, resolution=64, num_frames=NUM_FRAMES)
    degrade = DegradeConfig(blur_scale=0.25, codec_probabilities=(1.0, 0.0, 0.0))
    return tiny_model.batch_of(DegradedClips(clips, degrade), NUM_CLIPS)


def make_task(batch, adversarial_weight: float = 0.0) -> VideoDecoderTask:
    discriminator = DiscriminatorConfig(channels=4, num_layers=2)
    config = VideoDecoderTaskConfig(adversarial_weight, discriminator)
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    return config.build(task_context(MICRO, frozen, examples=examples_of(batch)))


@pytest.fixture(scope="module")
def parts(batch):
    """Loss of an adversarial task and its terms, with the gradient of each."""
    task = make_task(batch, adversarial_weight=0.5)
    params = task.warm_start(tiny_model.random_params(task.init))
    names = ("l1", "fooling", "judging", "adaptive_weight")

    def values(params):
        loss, metrics = task.loss(params, task.frozen, batch, tiny_model.key())
        return jnp.stack([loss, *(metrics[name] for name in names)])

    @jax.jit
    def value_and_gradients(params):
        value, pull_back = jax.vjp(values, params)
        return value, *jax.vmap(pull_back)(jnp.eye(len(value)))

    value, gradient = jax.device_get(value_and_gradients(params))
    names = ("loss", *names)
    gradients = {name: jax.tree.map(lambda x: x[i], gradient) for i, name in enumerate(names)}
    return dict(zip(names, value, strict=True)), gradients


def is_zero(tree) -> bool:
    return not any(leaf.any() for leaf in jax.tree.leaves(tree))


def test_starts_from_the_image_decoder(batch, capsys):
    task = make_task(batch)
    fresh = tiny_model.random_params(task.init, seed=5)
    started = trees.flatten(task.warm_start(fresh)["video_decoder"])
    source = trees.flatten(task.frozen["autoencoder"])
    for path, value in started.items():
        if "temporal_" in path:
            np.testing.assert_array_equal(value, trees.flatten(fresh["video_decoder"])[path])
        else:
            np.testing.assert_array_equal(value, source[path])
    assert "0 grown" in capsys.readouterr().out


def test_an_autoencoder_that_does_not_fit_is_an_error(batch):
    task = make_task(batch)
    autoencoder = dict(
        task.frozen["autoencoder"], post_quant_conv={"kernel": np.zeros((1, 1, 4, 4))}
    )
    task.frozen = {"autoencoder": autoencoder}
    with pytest.raises(ValueError, match="missing post_quant_conv/bias"):
        task.warm_start(tiny_model.random_params(task.init))


def test_overfits_a_batch(batch):
    task = make_task(batch)
    params = task.warm_start(tiny_model.random_params(task.init))
    params, metrics = tiny_model.overfit(task, params, batch, 80, 5e-3)
    assert metrics[-1]["loss"] < 0.4 * metrics[0]["loss"]
    assert metrics[-1]["psnr"] > metrics[0]["psnr"] + 5
    assert metrics[-1]["flicker"] < metrics[0]["flicker"]
    assert task.components(params) == {"video_decoder": params["video_decoder"]}

    rows, fps = task.samples(params, seed=0)
    assert rows.shape == (NUM_CLIPS * 4, NUM_FRAMES, RESOLUTION, RESOLUTION, 3)
    assert fps == batch["fps"][0]
    clean, degraded, by_image, by_video = (rows[i::4].astype(int) for i in range(4))
    assert np.abs(by_video - clean).mean() < 0.5 * np.abs(by_image - clean).mean()
    assert 0 < np.abs(degraded - clean).mean() < 30


def test_the_discriminator_has_no_effect_without_its_weight(batch):
    assert set(jax.eval_shape(make_task(batch).init, tiny_model.key())) == {"video_decoder"}
    adversarial = make_task(batch, 0.5)
    params = jax.eval_shape(adversarial.init, tiny_model.key())
    assert set(params) == {"video_decoder", "discriminator"}
    assert set(adversarial.components(params)) == {"video_decoder"}


def test_each_player_is_trained_by_its_own_loss(parts):
    values, gradients = parts
    assert is_zero(gradients["judging"]["video_decoder"])
    assert is_zero(gradients["fooling"]["discriminator"])
    assert is_zero(gradients["l1"]["discriminator"])
    assert not is_zero(gradients["fooling"]["video_decoder"])
    weight = 0.5 * values["adaptive_weight"]
    expected = {
        "video_decoder": jax.tree.map(
            lambda l1, fooling: l1 + weight * fooling,
            gradients["l1"]["video_decoder"],
            gradients["fooling"]["video_decoder"],
        ),
        "discriminator": gradients["judging"]["discriminator"],
    }
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=NETWORK_TOLERANCE),
        gradients["loss"],
        expected,
    )
    total = values["l1"] + weight * values["fooling"] + values["judging"]
    np.testing.assert_allclose(values["loss"], total, rtol=1e-5)


def test_the_adaptive_weight_balances_the_last_layer(parts):
    values, gradients = parts
    l1, fooling = (
        np.linalg.norm(gradients[name]["video_decoder"]["decoder"]["conv_out"]["kernel"])
        for name in ("l1", "fooling")
    )
    np.testing.assert_allclose(values["adaptive_weight"], l1 / (fooling + 1e-4), rtol=1e-3)
    assert is_zero(gradients["adaptive_weight"])


def test_a_negative_weight_is_an_error(batch):
    with pytest.raises(ValueError, match="adversarial_weight is -1"):
        make_task(batch, -1.0)
