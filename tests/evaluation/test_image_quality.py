"""PSNR and SSIM equal scikit-image's; LPIPS of videos is the mean over frames."""

import jax
import numpy as np
import pytest

from videogen_jax.evaluation.image_quality import psnr, ssim, video_lpips, video_psnr, video_ssim
from videogen_jax.models.features.lpips import LPIPSConfig, lpips
from videogen_jax.models.parameters import init_lpips, shapes

metrics = pytest.importorskip("skimage.metrics")
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((2, 20, 26, 3)) * 60 + np.linspace(0, 190, 26)[:, None]).astype(np.uint8)
NOISY = np.clip(TRUTH + RNG.normal(0, 12, TRUTH.shape), 0, 255).astype(np.uint8)


def test_psnr_is_scikit_images():
    expected = [metrics.peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(TRUTH, NOISY)]
    assert [psnr(b, a) for a, b in zip(TRUTH, NOISY, strict=True)] == pytest.approx(expected)
    assert video_psnr(NOISY, TRUTH) == pytest.approx(np.mean(expected))
    assert psnr(TRUTH, TRUTH) == pytest.approx(138.13, abs=0.01)


def test_ssim_is_scikit_images():
    expected = [
        metrics.structural_similarity(
            a,
            b,
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(TRUTH, NOISY, strict=True)
    ]
    assert expected[0] < 0.99
    assert [ssim(b, a) for a, b in zip(TRUTH, NOISY, strict=True)] == pytest.approx(expected)
    assert video_ssim(NOISY, TRUTH) == pytest.approx(np.mean(expected))
    assert ssim(TRUTH[0], TRUTH[0]) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(10, 20, 3), (20, 25, 3)])
def test_ssim_needs_images_of_one_shape_as_large_as_its_window(shape):
    with pytest.raises(ValueError, match="SSIM needs two images of one shape, 11 pixels a side"):
        ssim(np.zeros(shape, np.uint8), np.zeros((20, 26, 3), np.uint8))
    with pytest.raises(ValueError, match="SSIM needs"):
        ssim(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20, 3), np.uint8))


def test_lpips_of_a_video_is_the_mean_over_frames():
    tree = shapes(init_lpips, LPIPSConfig("alexnet", (4, 5, 6, 7, 8)))
    params = jax.tree.map(lambda leaf: RNG.random(leaf.shape).astype(np.float32) - 0.2, tree)
    x, y = RNG.integers(0, 256, (2, 2, 3, 31, 31, 3), np.uint8)
    found = video_lpips(params, x, y)
    flat = [z.reshape(6, 31, 31, 3).astype(np.float32) / 127.5 - 1 for z in (x, y)]
    expected = jax.jit(lpips)(params, *flat).reshape(2, 3).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
