"""Degradations: determinism, sharing across frames, and what each step does."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from videogen_jax.data import degrade as d
from videogen_jax.data.shapes.world import clip_spec, render

FILTER_TOLERANCE = 1e-3  # levels of 255: float32 sums over 49 pixels
CONFIG = d.DegradeConfig(blur_scale=0.25)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(clip_spec("train", 3), np.arange(8))


def recipe(seed: int, **changes) -> d.Recipe:
    return dataclasses.replace(d.draw_recipe(CONFIG, np.random.default_rng(seed)), **changes)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 10 * np.log10(255**2 / error)


def test_recipe_is_a_function_of_the_generator():
    first, same, other = (recipe(seed) for seed in (1, 1, 2))
    for field in dataclasses.fields(d.Recipe):
        left, right = (getattr(drawn, field.name) for drawn in (first, same))
        if field.name == "kernels":
            left, right = (np.concatenate([k.ravel() for k in pair]) for pair in (left, right))
        np.testing.assert_array_equal(left, right)
    assert first.noise_seed != other.noise_seed


@pytest.mark.parametrize("codec", ["jpeg", "h264", "none"])
def test_same_recipe_same_result(clip, codec):
    drawn = recipe(1, codec=codec, quality=30)
    results = [d.degrade(clip, drawn) for _ in range(4)]
    assert results[0].shape == clip.shape and results[0].dtype == np.uint8
    assert not np.array_equal(results[0], clip)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_recipes_cover_what_the_config_allows():
    recipes = [recipe(seed) for seed in range(200)]
    assert {r.codec for r in recipes} == {"jpeg", "h264"}
    drawn = {step for r in recipes for step in r.steps}
    assert drawn == {"blur_1", "blur_2", "resize", "noise", "jpeg"}
    assert len({r.steps for r in recipes}) > 80  # of 120 orders, and 24 without JPEG
    for r in recipes:
        low, high = CONFIG.jpeg_quality if r.codec == "jpeg" else CONFIG.h264_crf
        assert low <= r.quality <= high
        assert 1 <= r.resize_factor <= CONFIG.resize_factor
        for kernel in r.kernels:
            np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-5)
            assert 3 <= len(kernel) <= 7
        # Root mean square over channels. Correlated noise may reach the largest level.
        assert np.sqrt((r.noise_mixing**2).sum() / 3) <= 25 + 1e-4


def test_blur_scale_scales_kernels():
    def kernel(scale: float, seed: int) -> np.ndarray:
        config = d.DegradeConfig(blur_scale=scale)
        return d.draw_recipe(config, np.random.default_rng(seed)).kernels[0]

    def width(kernel: np.ndarray) -> float:
        offset = np.arange(len(kernel)) - len(kernel) // 2
        return float(np.sqrt(kernel.sum(0) @ offset**2 + kernel.sum(1) @ offset**2))

    assert [d.DegradeConfig.for_pixels(n).blur_scale for n in (64, 256, 512)] == [0.25, 1, 1]
    for seed in range(10):
        large, small = kernel(4.0, seed), kernel(2.0, seed)
        assert len(large) - 1 == 2 * (len(small) - 1)
        np.testing.assert_allclose(width(large), 2 * width(small), rtol=0.05)


def test_gaussian_kernel_has_its_variances_and_angle():
    kernel = d.gaussian_kernel(20, np.array([9.0, 4.0]), angle=0.5)
    offset = np.arange(-20, 21)
    x, y = np.meshgrid(offset, offset)
    covariance = [[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)]
    axes = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    np.testing.assert_allclose(covariance, axes @ np.diag([9.0, 4.0]) @ axes.T, atol=1e-3)


def test_blur_is_a_mirrored_convolution(clip):
    kernel = d.gaussian_kernel(3, np.array([1.0, 3.0]), 0.7)
    blurred = d.blur(clip.astype(np.float32), kernel)
    for frame, result in zip(clip, blurred, strict=True):
        expected = scipy.ndimage.convolve(
            frame.astype(np.float64), kernel[..., None].astype(np.float64), mode="mirror"
        )
        np.testing.assert_allclose(result, expected, atol=FILTER_TOLERANCE)


def test_blur_is_the_same_in_all_frames(clip):
    still = np.repeat(clip[:1], 4, axis=0)
    result = d.degrade(still, recipe(5, steps=("blur_1", "resize", "blur_2"), codec="none"))
    for frame in result[1:]:
        np.testing.assert_array_equal(frame, result[0])


def test_noise_statistics():
    gray = np.full((6, 64, 64, 3), 128, np.float32)
    mixing = np.array([[8, 0, 0], [4, 6, 0], [0, 0, 3]], np.float32)
    noise = d.add_noise(gray, mixing, False, np.random.default_rng(0)) - gray
    covariance = np.cov(noise.reshape(-1, 3).T)
    np.testing.assert_allclose(covariance, mixing @ mixing.T, atol=2.0)
    between_frames = np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]
    assert abs(between_frames) < 0.05


def test_frozen_noise_is_one_pattern():
    gray = np.full((3, 16, 16, 3), 128, np.float32)
    noise = d.add_noise(gray, np.eye(3, dtype=np.float32), True, np.random.default_rng(0)) - gray
    np.testing.assert_array_equal(noise[1:], noise[:-1])
    assert noise.std() > 0.5


def drawn_covariance(kind: tuple[float, float, float], seed: int) -> np.ndarray:
    config = dataclasses.replace(CONFIG, noise_probabilities=kind)
    mixing = d.draw_recipe(config, np.random.default_rng(seed)).noise_mixing
    return mixing @ mixing.T


@pytest.mark.parametrize("seed", range(5))
def test_noise_kinds(seed):
    colour = drawn_covariance((1.0, 0.0, 0.0), seed)
    np.testing.assert_allclose(colour, colour[0, 0] * np.eye(3), rtol=1e-5)
    grey = drawn_covariance((0.0, 1.0, 0.0), seed)
    np.testing.assert_allclose(grey, grey[0, 0] * np.ones((3, 3)), rtol=1e-5)
    assert 2**2 <= colour[0, 0] <= 25**2 and 2**2 <= grey[0, 0] <= 25**2
    correlated = drawn_covariance((0.0, 0.0, 1.0), seed)
    variances = np.diag(correlated)
    assert variances.max() > 1.01 * variances.min() and np.all(correlated > 0)


def test_correlated_noise_is_that_of_bsrgan():
    """Mean correlation of two channels; the reference follows BSRGAN's `add_Gaussian_noise`."""

    def correlation(covariance: np.ndarray) -> float:
        width = np.sqrt(np.diag(covariance))
        return float((covariance / np.outer(width, width))[np.triu_indices(3, 1)].mean())

    rng, reference = np.random.default_rng(0), []
    for _ in range(3000):
        basis, scale = scipy.linalg.orth(rng.random((3, 3))), np.diag(rng.random(3))
        reference.append(correlation(np.abs(basis.T @ scale @ basis)))
    found = [correlation(drawn_covariance((0.0, 0.0, 1.0), seed)) for seed in range(3000)]
    assert abs(np.mean(found) - np.mean(reference)) < 0.012  # standard error of each: 0.004


def test_recipes_are_as_often_as_in_bsrgan():
    """Its code always resizes, and compresses by JPEG within the order in nine of ten cases."""
    config = d.DegradeConfig()
    recipes = [d.draw_recipe(config, np.random.default_rng(seed)) for seed in range(1000)]
    assert all("resize" in r.steps for r in recipes)
    assert abs(np.mean(["jpeg" in r.steps for r in recipes]) - 0.9) < 0.04
    qualities = [r.jpeg_quality for r in recipes]
    assert (min(qualities), max(qualities)) == (30, 95)


def test_jpeg_within_the_order_compresses_each_frame(clip):
    drawn = recipe(2, steps=("jpeg",), jpeg_quality=30, codec="none")
    np.testing.assert_array_equal(d.degrade(clip, drawn), d.jpeg_round_trip(clip, 30))
    noisy = recipe(2, steps=("noise", "jpeg"), jpeg_quality=30, codec="none")
    assert psnr(clip, d.degrade(clip, noisy)) < psnr(clip, d.degrade(clip, drawn))


def test_down_and_up_loses_detail_and_keeps_size():
    stripes = np.zeros((2, 32, 32, 3), np.float32)
    stripes[:, :, ::2] = 255
    result = d.down_and_up(stripes, 2.0, (3, 1))
    assert result.shape == stripes.shape
    assert result.std() < 0.1 * stripes.std()
    np.testing.assert_allclose(d.down_and_up(stripes, 1.0, (1, 1)), stripes)


def test_unknown_steps_and_codecs(clip):
    with pytest.raises(ValueError, match="sharpen"):
        d.degrade(clip, recipe(0, steps=("sharpen",)))
    with pytest.raises(ValueError, match="vp9"):
        d.degrade(clip, recipe(0, codec="vp9"))


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_probabilities": (0.5, 0.5, 0.5)},
        {"codec_probabilities": (1.5, -0.5, 0.0)},
        {"blur_scale": 0.0},
        {"resize_factor": 0.5},
    ],
)
def test_bad_config(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        d.DegradeConfig(**changes)
