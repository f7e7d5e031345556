"""Reference images from a user."""

import numpy as np
import pytest
from PIL import Image

from videogen_jax.media.references import load_references


@pytest.fixture
def picture() -> np.ndarray:
    """Returns a uint8 picture `[8, 8, 3]`."""
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def test_one_image_is_for_all_prompts(picture):
    references = load_references(picture, 3, 8)
    np.testing.assert_array_equal(references, np.stack([picture] * 3))


def test_files_and_arrays_may_be_mixed(picture, tmp_path):
    path = tmp_path / "reference.png"
    Image.fromarray(255 - picture).save(path)
    references = load_references([picture, path, str(path)], 3, 8)
    np.testing.assert_array_equal(references, [picture, 255 - picture, 255 - picture])


def test_an_array_is_treated_as_the_file_of_it(tmp_path):
    wide = np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    from_array, from_file = load_references([wide, tmp_path / "wide.png"], 2, 8)
    np.testing.assert_array_equal(from_array, from_file)


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)]
    + [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((0, 8, 3), np.uint8)],
)
def test_an_array_that_is_no_picture_is_refused(array):
    with pytest.raises(ValueError, match="expected an image file or a numpy array uint8"):
        load_references(array, 1, 8)


def test_a_list_of_another_length_is_refused(picture):
    with pytest.raises(ValueError, match="2 references for 3 prompts"):
        load_references([picture, picture], 3, 8)


def test_what_is_not_an_image_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not an image")
    with pytest.raises(ValueError, match="notes.txt is not an image"):
        load_references(path, 1, 8)
    with pytest.raises(FileNotFoundError, match="no image file .*missing.png"):
        load_references(tmp_path / "missing.png", 1, 8)
