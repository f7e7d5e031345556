"""Display matrices: pixels go where the matrix says."""

import math
from itertools import product

import numpy as np
import pytest

from videogen_jax.media.orientation import IDENTITY, orient

H, W = 2, 3
FRAME = np.arange(H * W * 3, dtype=np.uint8).reshape(H, W, 3)
ORTHOGONAL = [
    *((a, 0, 0, d) for a, d in product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in product((1, -1), repeat=2)),
]


def display_matrix(a, b, c, d):
    return [a, b, 0, c, d, 0, 0, 0, 1]


@pytest.mark.parametrize("a,b,c,d", ORTHOGONAL)
@pytest.mark.parametrize("scale", [(65536, 65536), (65536, 32768)], ids=["", "wide"])
def test_each_pixel_is_shown_where_the_matrix_says(a, b, c, d, scale):
    x, y = scale
    shown = orient(FRAME, display_matrix(x * a, y * b, x * c, y * d))
    assert shown.shape == ((H, W, 3) if a else (W, H, 3))
    for q, p in np.ndindex(H, W):
        right, down = a * p + c * q, b * p + d * q
        # A negative place counts from the other side, as the matrix has no offsets.
        right += (W if a else H) - 1 if min(a, c) < 0 else 0
        down += (H if d else W) - 1 if min(b, d) < 0 else 0
        assert (shown[down, right] == FRAME[q, p]).all()


@pytest.mark.parametrize("degrees", [-40, -1, 1, 40])
@pytest.mark.parametrize("turns", range(4))
def test_other_angles_are_rounded(degrees, turns):
    angle = math.radians(90 * turns + degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    shown = orient(FRAME, display_matrix(cosine, sine, -sine, cosine))
    np.testing.assert_array_equal(shown, np.rot90(FRAME, -turns))


@pytest.mark.parametrize("matrix", [IDENTITY, [0] * 9, display_matrix(-1, 0, 0, 0)])
def test_matrices_that_change_nothing(matrix):
    np.testing.assert_array_equal(orient(FRAME, matrix), FRAME)
