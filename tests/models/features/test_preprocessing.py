"""The metrics' preprocessings equal their references, or the formulas of these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image

from videogen_jax.models.features.preprocessing import (
    CLIP_MEAN,
    CLIP_STD,
    c3d_pixels,
    clip_pixels,
    i3d_pixels,
    resize_frames,
)

TOLERANCE = 1e-3  # in levels of 255: positions are float32 in torch
RNG = np.random.default_rng(0)


def videos(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (*shape, 3), np.uint8)


def tf1_bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Pixel by pixel: position i of the result is at i · old / new, held within the image."""
    height, width = image.shape[:2]
    out = np.zeros((size, size, 3))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            lower = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            out[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return out


@pytest.mark.parametrize("shape", [(9, 14), (30, 17), (24, 24)])
def test_i3d_pixels_are_tensorflow_1s(shape):
    x = videos(1, 2, *shape)
    found = np.asarray(i3d_pixels(x, size=24))
    assert found.shape == (1, 2, 24, 24, 3) and found.dtype == np.float32
    expected = tf1_bilinear(x[0, 1].astype(float), 24)
    np.testing.assert_allclose((found[0, 1] + 1) * 127.5, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("grid", "corners"), [("half_pixel", False), ("align_corners", True)])
@pytest.mark.parametrize("shape", [(9, 14), (30, 17)])
def test_the_other_grids_are_torchs(grid, corners, shape):
    x = videos(1, 1, *shape).astype(np.float32)
    found = resize_frames(jnp.asarray(x), (20, 25), grid)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x[0].transpose(0, 3, 1, 2)),
        (20, 25),
        mode="bilinear",
        align_corners=corners,
    )
    expected = expected.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=TOLERANCE)


def test_half_pixel_is_another_grid_than_tf1():
    x = videos(1, 1, 9, 14)
    tf1, half = (np.asarray(i3d_pixels(x, grid=grid, size=24)) for grid in ("tf1", "half_pixel"))
    assert np.abs(tf1 - half).max() > 0.1
    corner = x[..., 0, 0, :].astype(np.float32) * (2 / 255) - 1  # stays where it is
    np.testing.assert_allclose(tf1[..., 0, 0, :], corner, rtol=0, atol=1e-6)


def test_c3d_pixels_are_tganv2s():
    """BGR × 128 of pixels in [-1, 1), resized, plus 128 minus the mean clip."""
    x, mean = videos(1, 4, 18, 30), RNG.uniform(80, 140, (4, 12, 12, 3)).astype(np.float32)
    found = c3d_pixels(x, mean)
    scaled = (x[0].astype(np.float32) - 128) / 128
    bgr = torch.from_numpy(128 * scaled[..., ::-1].transpose(0, 3, 1, 2))
    resized = torch.nn.functional.interpolate(bgr, (12, 12), mode="bilinear", align_corners=True)
    expected = resized.permute(0, 2, 3, 1).numpy() + (128 - mean)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(80, 61), (40, 75), (20, 33), (32, 32)])
def test_clip_pixels_are_pils(shape):
    """But for values so near to a half that PIL's fixed-point weights round them otherwise."""
    x = videos(*shape)
    found = np.asarray(clip_pixels(x[None], size=32))[0]
    rows, columns = (32 * side // min(shape) for side in shape)
    image = Image.fromarray(x).resize((columns, rows), Image.Resampling.BICUBIC)
    top, left = (round((side - 32) / 2) for side in (rows, columns))
    expected = np.asarray(image.crop((left, top, left + 32, top + 32)), np.float64)
    levels = (found * CLIP_STD + CLIP_MEAN) * 255
    difference = np.abs(levels - expected)
    assert difference.max() < 1 + TOLERANCE and (difference > TOLERANCE).mean() < 0.01


def test_batches_do_not_mix():
    x = videos(3, 2, 10, 12)
    whole = i3d_pixels(x, size=16)
    np.testing.assert_allclose(whole[1:2], i3d_pixels(x[1:2], size=16), rtol=0, atol=1e-6)
    assert isinstance(whole, jax.Array)
