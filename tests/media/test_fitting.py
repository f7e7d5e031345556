"""Pictures in another aspect ratio."""

import numpy as np
import pytest
from PIL import Image

from videogen_jax.media.fitting import fitted
from videogen_jax.media.references import load_references

RED, GREEN = (200, 0, 0), (0, 100, 0)


@pytest.fixture
def picture() -> np.ndarray:
    """Twice as wide as high, the left quarter red and the rest green."""
    picture = np.full((40, 80, 3), GREEN, np.uint8)
    picture[:, :20] = RED
    return picture


def red(pixels: np.ndarray) -> list[bool]:
    """Whether each column is red in the middle row."""
    return (pixels[len(pixels) // 2, :, 0] > 100).tolist()


def test_a_crop_keeps_the_centre(picture):
    square = np.asarray(fitted(Image.fromarray(picture), (20, 20)))
    assert square.shape == (20, 20, 3) and not any(red(square))


def test_stretching_keeps_all_and_changes_the_aspect_ratio(picture):
    square = np.asarray(fitted(Image.fromarray(picture), (20, 20), "stretch"))
    assert red(square) == [True] * 5 + [False] * 15


def test_padding_keeps_all_on_the_mean_colour(picture):
    square = np.asarray(fitted(Image.fromarray(picture), (20, 20), "pad"))
    assert red(square) == [True] * 5 + [False] * 15
    np.testing.assert_array_equal(square[[0, 4, 15, 19]], np.full((4, 20, 3), (50, 75, 0)))
    assert red(square[5:15]) == [True] * 5 + [False] * 15


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_files_and_arrays_are_fitted_alike(picture, tmp_path, fit):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    both = load_references([picture, path], 2, (30, 20), fit)
    assert both.shape == (2, 30, 20, 3)
    np.testing.assert_array_equal(both[0], both[1])
    np.testing.assert_array_equal(both[0], fitted(Image.fromarray(picture), (30, 20), fit))
