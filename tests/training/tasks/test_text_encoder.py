"""The text encoder task: texts match their clips, also by motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax.data.loader import make_loader
from videogen_jax.data.shapes.captions import CONTRASTS
from videogen_jax.data.shapes.sources import ContrastedClips, ShapesClips
from videogen_jax.training.tasks.text_encoder import TextEncoderTask, TextEncoderTaskConfig

NUM_CLIPS = 8
CONFIG = TextEncoderTaskConfig(16, 4, tower_channels=(8, 16), embedding_dim=16)


@pytest.fixture(scope="module")
def task() -> TextEncoderTask:
    return CONFIG.build(task_context(MICRO))


@pytest.fixture(scope="module")
def params(task):
    return tiny_model.compiled_init(task.init)


@pytest.fixture(scope="module")
def batch():
    source = ShapesClips("train", NUM_CLIPS, resolution=32, num_frames=8)
    return tiny_model.batch_of(source, NUM_CLIPS)


@pytest.mark.slow  # test_cascade.py overfits a batch too
def test_overfits_a_batch(task, params, batch):
    params, metrics = tiny_model.overfit(task, params, batch, 100, 3e-3)
    assert metrics[-1]["accuracy"] == 1.0
    assert metrics[-1]["loss"] < 0.3 < 0.5 * metrics[0]["loss"]
    assert task.components(params) == {"text_encoder": params["text_encoder"]}
    assert task.samples(params, seed=0) is None


def test_the_loss_is_symmetric_cross_entropy(task, params, batch):
    loss, metrics = jax.jit(task.loss)(params, {}, batch, tiny_model.key())
    text, clips = (np.asarray(x, np.float64) for x in jax.jit(task._embed)(params, batch))
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(clips, axis=1), 1, rtol=1e-5)
    similarity = text @ clips.T / CONFIG.initial_temperature
    of_clips = np.exp(similarity) / np.exp(similarity).sum(axis=1, keepdims=True)
    of_texts = np.exp(similarity) / np.exp(similarity).sum(axis=0, keepdims=True)
    expected = -(np.log(np.diag(of_clips)) + np.log(np.diag(of_texts))).mean() / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    accuracy = np.mean(similarity.argmax(axis=1) == np.arange(NUM_CLIPS))
    np.testing.assert_allclose(metrics["accuracy"], accuracy)


def test_wrong_captions_are_among_those_that_a_clip_chooses_from(task, params, batch):
    clips = ContrastedClips(ShapesClips("train", NUM_CLIPS, resolution=32, num_frames=8))
    loader = make_loader(
        clips, NUM_CLIPS, 0, tiny_model.TOKENIZER, len(batch["tokens"][0]), shuffle=False
    )
    batch = next(loader)
    loss, metrics = jax.jit(task.loss)(params, {}, batch, tiny_model.key())
    text, clips = (np.asarray(x, np.float64) for x in jax.jit(task._embed)(params, batch))
    similarity = text @ clips.T / CONFIG.initial_temperature
    right, own = np.diag(similarity), np.arange(NUM_CLIPS)
    wrong = similarity[NUM_CLIPS:].reshape(NUM_CLIPS, CONTRASTS, NUM_CLIPS)[own, :, own]
    to_clips = right - np.log(np.exp(similarity[:NUM_CLIPS]).sum(axis=1))
    to_text = right - np.log(np.exp(similarity).sum(axis=0))
    np.testing.assert_allclose(loss, -(to_clips + to_text).mean() / 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["contrast_accuracy"], np.mean(right[:, None] > wrong))


def test_the_tower_sees_the_order_of_frames(task, params, batch):
    embed = jax.jit(task._embed)
    _, forwards = embed(params, batch)
    _, backwards = embed(params, batch | {"video": batch["video"][:, ::-1]})
    assert jnp.abs(forwards - backwards).max() > 0.01


def test_the_temperature_is_bounded(task, params, batch):
    loss = jax.jit(task.loss)
    at_bound, beyond = (
        loss(params | {"log_scale": jnp.log(scale)}, {}, batch, tiny_model.key())[0]
        for scale in (100.0, 1000.0)
    )
    np.testing.assert_array_equal(at_bound, beyond)
