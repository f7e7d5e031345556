"""The text-to-image task: the conditions of its network, and training on captioned pictures."""

import jax
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.data.transforms import to_float
from videogen_jax.training.tasks import text_to_image
from videogen_jax.training.tasks.text_to_image import TextToImageTask, TextToImageTaskConfig

BLOCK_TOLERANCE = 1e-5
NETWORK_TOLERANCE = 1e-4
NUM_CLIPS = 4


@pytest.fixture(scope="module")
def batch():
    source = ShapesClips("train", NUM_CLIPS, resolution=64, num_frames=2)
    return tiny_model.batch_of(source, NUM_CLIPS)


def make_task(text_dropout: float = 0.0) -> TextToImageTask:
    config = TextToImageTaskConfig(text_dropout=text_dropout, posterior_noise=False)
    return config.build(task_context(MICRO, tiny_model.frozen()))


def test_the_network_is_conditioned_on_the_prompt_and_denoises_the_first_frame(batch, monkeypatch):
    seen = tiny_model.recorded(monkeypatch, text_to_image, make_task, batch)
    x0 = tiny_model.encode(to_float(batch["video"][:, :1]), MICRO.image.resolution)
    assert x0.shape == (NUM_CLIPS, 1, 8, 8, 4)
    np.testing.assert_allclose(seen["x0"], x0, atol=NETWORK_TOLERANCE)
    np.testing.assert_array_equal(seen["x"], np.full(x0.shape, tiny_model.NOISY))
    text = tiny_model.text_of(batch["tokens"])
    np.testing.assert_allclose(seen["text"], text.states_BTD, atol=BLOCK_TOLERANCE)


def test_dropped_prompts_are_the_empty_prompt(batch, monkeypatch):
    seen = tiny_model.recorded(
        monkeypatch, text_to_image, lambda: make_task(text_dropout=1.0), batch
    )
    null = tiny_model.text_of(np.stack([tiny_model.NULL_TOKENS_T] * NUM_CLIPS))
    np.testing.assert_allclose(seen["text"], null.states_BTD, atol=BLOCK_TOLERANCE)


@pytest.mark.slow  # a stage overfits a batch in test_cascade.py
def test_overfits_a_batch(batch):
    latents = np.random.default_rng(0).normal(size=(NUM_CLIPS, 1, 4, 4, 4)).astype(np.float32)
    cached = {"tokens": batch["tokens"], f"latents_{MICRO.image.resolution}": latents}
    task = make_task()
    _, metrics = tiny_model.overfit(task, tiny_model.random_params(task.init), cached, 200, 1e-2)
    assert tiny_model.mean(metrics[-20:]) < 0.5 * tiny_model.mean(metrics[:10])
    # At the noisiest timesteps only the prompt determines which of the four pictures it is. Without
    # it the best prediction is their mean, with an error of 3/4 of the variance.
    assert tiny_model.mean(metrics[-50:], "error_quarter_3") < 0.5 * 0.75 * latents.var()


def test_continues_from_the_given_parameters():
    config = TextToImageTaskConfig(warm_start="image_unet")
    fresh, earlier = (tiny_model.random_component("image_unet", seed) for seed in (0, 1))
    assert config.build(task_context(MICRO)).warm_start(fresh) is fresh
    begun = config.build(task_context(MICRO, warm_start=earlier)).warm_start(fresh)
    jax.tree.map(np.testing.assert_array_equal, begun, earlier)
    del earlier["conv_in"]
    with pytest.raises(ValueError, match="missing conv_in/bias"):
        config.build(task_context(MICRO, warm_start=earlier)).warm_start(fresh)


def test_components(batch):
    task = make_task()
    params = jax.eval_shape(task.init, tiny_model.key())
    assert task.components(params) == {"image_unet": params}
