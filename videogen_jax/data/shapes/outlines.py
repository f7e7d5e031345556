"""Outlines of the shapes: their extents, and their coverage of each pixel.

All shapes stand upright and have their centroid at their centre. A shape's radius is about half its
width; x points to the right and y down, pixel centres are at half-integers.

Shape letters: F frames, H height, W width; a trailing 2 is an (x, y) pair, 1 an axis to broadcast.
"""

import math

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "ring")

# In units of the radius.
_SQUARE_HALF_SIDE = 0.9
_TRIANGLE_CIRCUMRADIUS = 1.2
_STAR_CIRCUMRADIUS = 1.05
_STAR_INNER_RATIO = 0.45
_RING_HOLE = 0.5


def extents(shape: str) -> tuple[float, float, float, float]:
    """Returns the extents of an outline left, right, up and down of its centre, for radius 1.

    Raises:
        ValueError: unknown shape.
    """
    match shape:
        case "circle" | "ring":
            return 1.0, 1.0, 1.0, 1.0
        case "square":
            half = _SQUARE_HALF_SIDE
            return half, half, half, half
        case "triangle":
            half_side = _TRIANGLE_CIRCUMRADIUS * math.sqrt(3.0) / 2.0
            return half_side, half_side, _TRIANGLE_CIRCUMRADIUS, _TRIANGLE_CIRCUMRADIUS / 2.0
        case "star":
            half_width = _STAR_CIRCUMRADIUS * math.sin(math.radians(72.0))
            bottom = _STAR_CIRCUMRADIUS * math.cos(math.radians(36.0))
            return half_width, half_width, _STAR_CIRCUMRADIUS, bottom
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")


def coverage(
    shape: str, centre_F2: np.ndarray, radius_F: np.ndarray, resolution: int
) -> np.ndarray:
    """Computes the fraction of each pixel that a shape covers, float32 [F, H, W] in 0..1.

    Args:
        centre_F2: centre (x, y) in pixels of this resolution.
        radius_F: radius in pixels of this resolution.
        resolution: height and width in pixels.

    Raises:
        ValueError: unknown shape.
    """
    grid = np.arange(resolution, dtype=np.float32) + np.float32(0.5)
    x_F1W = grid - centre_F2[:, 0, None, None].astype(np.float32)
    y_FH1 = grid[:, None] - centre_F2[:, 1, None, None].astype(np.float32)
    distance_FHW = _signed_distance(shape, x_F1W, y_FH1, radius_F[:, None, None].astype(np.float32))
    return np.clip(np.float32(0.5) - distance_FHW, 0.0, 1.0)


def _signed_distance(shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Computes the distance to the outline in pixels, negative inside.

    For polygons it is the distance to the nearest edge's line instead of the nearest point, which
    keeps corners sharp.
    """
    match shape:
        case "circle":
            return np.sqrt(x * x + y * y) - radius
        case "ring":
            middle, half_width = (1.0 + _RING_HOLE) / 2.0, (1.0 - _RING_HOLE) / 2.0
            return np.abs(np.sqrt(x * x + y * y) - middle * radius) - half_width * radius
        case "square":
            return np.maximum(np.abs(x), np.abs(y)) - _SQUARE_HALF_SIDE * radius
        case "triangle":
            slanted = np.float32(math.sqrt(3.0) / 2.0) * np.abs(x) - np.float32(0.5) * y
            return np.maximum(slanted, y) - _TRIANGLE_CIRCUMRADIUS / 2.0 * radius
        case "star":
            return _star_distance(x, y, radius)
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")


def _star_distance(x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Computes the distance to the edges of a five-pointed star with one point up.

    The star consists of ten mirror images of one edge, with mirror lines through the centre every
    36 degrees. Folding the plane at three of them maps every pixel into the sector between the top
    point and the notch on its right.
    """
    x, up = np.abs(x), -y
    # Angle of the mirror line from the vertical; points beyond it are reflected.
    for degrees in (108.0, 36.0):
        cos, sin = (np.float32(f(math.radians(degrees))) for f in (math.cos, math.sin))
        beyond = np.maximum(x * cos - up * sin, 0.0)
        x, up = x - 2.0 * cos * beyond, up + 2.0 * sin * beyond
    x = np.abs(x)
    notch_x = _STAR_INNER_RATIO * math.sin(math.radians(36.0))
    notch_drop = 1.0 - _STAR_INNER_RATIO * math.cos(math.radians(36.0))
    length = math.hypot(notch_x, notch_drop)
    across_x, across_up = np.float32(notch_drop / length), np.float32(notch_x / length)
    return x * across_x + (up - _STAR_CIRCUMRADIUS * radius) * across_up
