"""Masks of pictures."""

import numpy as np
import pytest
from PIL import Image

from videogen_jax import UserError
from videogen_jax.media.masks import coarse_mask, load_mask


@pytest.fixture
def left() -> np.ndarray:
    """White on the left quarter of a picture twice as wide as high."""
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :10] = 255
    return mask


def test_white_is_true_in_files_and_arrays(left, tmp_path):
    Image.fromarray(left).save(tmp_path / "mask.png")
    expected = np.zeros((20, 40), bool)
    expected[:, :10] = True
    for mask in (left, left == 255, tmp_path / "mask.png", left // 2 + 64):
        np.testing.assert_array_equal(load_mask(mask, (20, 40)), expected)


def test_a_mask_is_fitted_like_its_picture(left):
    with pytest.raises(UserError, match="nothing of it is white"):
        load_mask(left, (10, 10))  # the crop to a square has no white
    padded = load_mask(left, (8, 8), "pad")
    assert padded[2:6, :2].all() and padded.sum() == 8
    stretched = load_mask(left, (8, 8), "stretch")
    assert stretched[:, :2].all() and stretched.sum() == 16


def test_a_cell_is_in_the_mask_if_a_pixel_is():
    mask = np.zeros((4, 8), bool)
    mask[0, 1] = mask[3, 7] = True
    np.testing.assert_array_equal(
        coarse_mask(mask, 2), [[True, False, False, False], [False, False, False, True]]
    )


@pytest.mark.parametrize(
    "mask", [np.ones((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), np.ones((0, 4), np.uint8)]
)
def test_an_array_that_is_no_mask_is_refused(mask):
    with pytest.raises(UserError, match="mask: expected an image file or a numpy array bool or"):
        load_mask(mask, (4, 4))
