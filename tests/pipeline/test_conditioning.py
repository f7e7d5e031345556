"""A denoiser's conditions: reference, low-res latents, their noise, the order of channels."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.references import import_reference
from videogen_jax.diffusion.process import noise_tables
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.pipeline.conditioning import augment, network_input, reference_video, upsample

torch = import_reference("torch")

TOLERANCE = 1e-5


@pytest.fixture
def latents() -> jnp.ndarray:
    """Latents `[2, 3, 4, 5, 6]`, whose axes all differ in length."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 4, 5, 6)), jnp.float32)


def test_the_reference_is_on_frame_0_and_nowhere_else(latents):
    video = np.asarray(reference_video(latents[:, 0], num_frames=4))
    assert video.shape == (2, 4, 4, 5, 6)
    np.testing.assert_array_equal(video[:, 0], latents[:, 0])
    assert not video[:, 1:].any()


def test_a_single_frame_is_all_reference(latents):
    np.testing.assert_array_equal(reference_video(latents[:, 0], 1), latents[:, :1])


def test_upsampling_is_bilinear_frame_by_frame(latents):
    folded = torch.from_numpy(np.array(latents)).reshape(6, 4, 5, 6).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(folded, scale_factor=2, mode="bilinear")
    expected = expected.permute(0, 2, 3, 1).reshape(2, 3, 8, 10, 6).numpy()
    np.testing.assert_allclose(upsample(latents), expected, atol=TOLERANCE)


def test_augmentation_is_the_forward_process_at_each_samples_level(latents):
    tables = noise_tables(ScheduleConfig())
    noise = -2.0 * latents[::-1]
    noised = augment(tables, latents, jnp.array([900, 10]), noise)
    for sample, level in enumerate((900, 10)):
        alpha, sigma = tables.alpha_T[level], tables.sigma_T[level]
        expected = alpha * latents[sample] + sigma * noise[sample]
        np.testing.assert_allclose(noised[sample], expected, atol=TOLERANCE)


def test_augmentation_at_level_0_is_off(latents):
    noised = augment(noise_tables(ScheduleConfig()), latents, jnp.array([0, 500]), latents[::-1])
    np.testing.assert_array_equal(noised[0], latents[0])
    assert np.abs(noised[1] - latents[1]).max() > 0.1


def test_channels_are_noisy_then_reference_then_low_res(latents):
    noisy, reference, low_res = latents[..., :2], latents[..., 2:4], latents[..., 4:]
    np.testing.assert_array_equal(network_input(noisy, reference, low_res), latents)


def test_an_earlier_stages_channels_are_a_prefix_of_a_later_ones(latents):
    noisy, reference, low_res = latents[..., :2], latents[..., 2:4], latents[..., 4:]
    image, first = network_input(noisy), network_input(noisy, reference)
    np.testing.assert_array_equal(image, first[..., :2])
    np.testing.assert_array_equal(first, network_input(noisy, reference, low_res)[..., :4])
