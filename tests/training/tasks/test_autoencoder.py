"""The autoencoder task: training, metrics, and the standardisation of its latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import examples_of, task_context
from videogen_jax.data.config import DataConfig
from videogen_jax.data.shapes.sources import ShapesImages
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.training.tasks import autoencoder
from videogen_jax.training.tasks.autoencoder import (
    AutoencoderTask,
    AutoencoderTaskConfig,
    psnr,
    standardise,
)

NETWORK_TOLERANCE = 1e-4
NUM_IMAGES = 4
RESOLUTIONS = (16, 8)


@pytest.fixture(scope="module")
def batch():
    return tiny_model.batch_of(ShapesImages("train", NUM_IMAGES, resolution=64), NUM_IMAGES)


def make_task(batch, **changes) -> AutoencoderTask:
    config = AutoencoderTaskConfig(**{"resolutions": RESOLUTIONS} | changes)
    return config.build(task_context(MICRO, examples=examples_of(batch)))


@jax.jit
def encode_and_decode(params, images):
    network = Autoencoder(MICRO.autoencoder)
    latents = network.apply({"params": params}, images, method="encode")
    decoded = network.apply({"params": params}, latents.mean, method="decode")
    return latents, decoded


@pytest.mark.slow  # 20 seconds; the flow and a stage overfit a batch in quick tests
def test_overfits_a_batch_at_every_resolution(batch):
    task = make_task(batch)
    params, metrics = tiny_model.overfit(task, tiny_model.random_params(task.init), batch, 80, 1e-2)
    for size in RESOLUTIONS:
        assert metrics[-1][f"psnr_{size}"] > metrics[0][f"psnr_{size}"] + 6
    rows, fps, _ = task.samples(params, seed=0)
    assert rows.shape == (2 * len(RESOLUTIONS), NUM_IMAGES, 16, 16, 3) and fps is None
    true, decoded, small, small_decoded = rows.astype(int)
    for x, y in ((true, decoded), (small, small_decoded)):
        assert 10 * np.log10(255**2 / np.square(x - y).mean()) > metrics[0]["psnr_16"] + 6

    exported = task.components(params)["autoencoder"]
    images = [resize(to_float(batch["video"][:, 0]), size) for size in RESOLUTIONS]
    means = [encode_and_decode(exported, x)[0].mean for x in images]
    flat = np.concatenate([np.reshape(mean, (-1, mean.shape[-1])) for mean in means])
    np.testing.assert_allclose(flat.mean(0), 0, atol=NETWORK_TOLERANCE)
    np.testing.assert_allclose(flat.std(0), 1, atol=NETWORK_TOLERANCE)


def test_the_kl_weight_pulls_latents_to_a_standard_normal(batch):
    task = make_task(batch, kl_weight=1.0, resolutions=RESOLUTIONS[:1])
    params = tiny_model.random_params(task.init)

    def loss(bias):
        quant_conv = {**params["quant_conv"], "bias": bias}
        return task.loss(
            {**params, "quant_conv": quant_conv},
            {},
            batch,
            tiny_model.keys(tiny_model.key(), batch),
        )[0]

    # With means and log-variances far too large, the KL term dominates the loss.
    assert (jax.jit(jax.grad(loss))(jnp.full(8, 5.0)) > 1).all()


def test_lpips_is_added_at_every_resolution(batch, monkeypatch):
    """By a network in place of LPIPS, which takes long to compile and has tests of its own."""
    seen = []

    def like_lpips(frozen, x_NHWC, y_NHWC):
        seen.append((frozen, x_NHWC.shape, y_NHWC.shape))
        return jnp.square(x_NHWC - y_NHWC).mean()

    monkeypatch.setattr(autoencoder, "perceptual_loss", like_lpips)
    network = (None, {"kernel": np.ones(2, np.float32)})
    config = AutoencoderTaskConfig(RESOLUTIONS, lpips="DIR", perceptual_weight=3.0)
    task = config.build(task_context(MICRO, feature_network=network))
    params = tiny_model.random_params(task.init)
    keys_B = tiny_model.keys(tiny_model.key(), batch)

    @jax.jit
    def losses(params, frozen):
        plain, _ = make_task(batch).loss(params, {}, batch, keys_B)
        return plain, *task.loss(params, frozen, batch, keys_B)

    plain, loss, metrics = losses(params, task.frozen)
    shapes = [(NUM_IMAGES, size, size, 3) for size in RESOLUTIONS]
    assert [(x, y) for _, x, y in seen] == [(shape, shape) for shape in shapes]
    assert all(set(frozen) == {"lpips"} for frozen, *_ in seen)
    added = 3 * np.mean([metrics[f"lpips_{size}"] for size in RESOLUTIONS])
    assert added > 0.01
    np.testing.assert_allclose(loss, plain + added, rtol=1e-5)


def test_standardising_changes_latents_and_not_pictures(batch):
    params = tiny_model.random_params(make_task(batch).init)
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=4).astype(np.float32), rng.uniform(0.5, 2, 4).astype(np.float32)
    images = resize(to_float(batch["video"][:, 0]), 16)
    before, decoded = encode_and_decode(params, images)
    after, decoded_after = encode_and_decode(standardise(params, mean, std), images)
    np.testing.assert_allclose(after.mean, (before.mean - mean) / std, atol=NETWORK_TOLERANCE)
    expected = jnp.exp(0.5 * before.logvar) / std
    np.testing.assert_allclose(jnp.exp(0.5 * after.logvar), expected, rtol=NETWORK_TOLERANCE)
    np.testing.assert_allclose(decoded_after, decoded, atol=NETWORK_TOLERANCE)


def test_exported_latents_of_a_datasets_training_images_are_standardised(batch):
    examples = examples_of(batch)
    data = DataConfig(dataset="clips")
    context = task_context(MICRO, examples=examples[:1], training=examples[1:], data=data)
    task = AutoencoderTaskConfig(resolutions=(16,)).build(context)
    exported = task.components(tiny_model.random_params(task.init))["autoencoder"]
    images = resize(to_float(batch["video"][1:, 0]), 16)
    mean = encode_and_decode(exported, images)[0].mean
    np.testing.assert_allclose(mean.mean((0, 1, 2)), 0, atol=NETWORK_TOLERANCE)
    np.testing.assert_allclose(mean.std((0, 1, 2)), 1, atol=NETWORK_TOLERANCE)


def test_psnr():
    x = jnp.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(psnr(x + 0.2, x), 20.0, rtol=1e-5)
    # Values outside the range of pixels do not count, because they are clipped.
    np.testing.assert_allclose(psnr(x + 1.5, x + 0.8), 20.0, rtol=1e-5)
