"""Grids of pictures and their files."""

import numpy as np
import pytest
from PIL import Image

from videogen_jax.media.pictures import picture_grid, save_picture

PICTURES = np.random.default_rng(0).integers(0, 255, (5, 4, 6, 3), np.uint8)


def test_rows_are_read_in_order_and_the_rest_is_white():
    grid = picture_grid(PICTURES, columns=2)
    assert grid.shape == (12, 12, 3)
    for index, picture in enumerate(PICTURES):
        row, column = divmod(index, 2)
        cell = grid[4 * row : 4 * row + 4, 6 * column : 6 * column + 6]
        np.testing.assert_array_equal(cell, picture)
    assert (grid[8:, 6:] == 255).all()


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 2, 3)]
)
def test_by_default_a_grid_is_about_square(count, rows, columns):
    assert picture_grid(PICTURES[:count]).shape == (4 * rows, 6 * columns, 3)


def test_no_columns_is_an_error():
    with pytest.raises(ValueError, match="columns is 0"):
        picture_grid(PICTURES, columns=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_files_are_written_beside_and_renamed(tmp_path, suffix):
    path = tmp_path / "new" / f"picture{suffix}"
    flat = np.full((16, 16, 3), 200, np.uint8)
    save_picture(path, flat)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - flat).max() <= 2
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_png_has_the_exact_pixels(tmp_path):
    save_picture(tmp_path / "picture.png", PICTURES[0])
    with Image.open(tmp_path / "picture.png") as image:
        np.testing.assert_array_equal(np.asarray(image), PICTURES[0])


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match="picture.bmp: unknown suffix '.bmp'; known are .png"):
        save_picture(tmp_path / "picture.bmp", PICTURES[0])
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write .*file/picture.png"):
        save_picture(tmp_path / "file" / "picture.png", PICTURES[0])
