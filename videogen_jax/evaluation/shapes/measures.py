"""Measures of shapes clips, from their pixels alone: consistency over time, errors, features.

Letters: F frames, H height, W width, D features; a trailing 3 are RGB channels.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from videogen_jax.data.shapes.outlines import SHAPES
from videogen_jax.data.shapes.world import SCALINGS
from videogen_jax.errors import UserError
from videogen_jax.evaluation.shapes.analyser import (
    MATCHED_FRAMES,
    Scene,
    analyse,
    locate,
    shape_overlaps,
    take_apart,
)
from videogen_jax.evaluation.steadiness import mean_change

END_FRAMES = 4
# In levels of 255, Euclidean over RGB. The two nearest colours of objects are 113 apart.
MAX_COLOUR_DRIFT = 40.0
MAX_SIZE_DRIFT = 1.15  # as a factor of the radius
# Pixels around the object that a decoder may blur, in frames of 64.
_RIM = 4
# Least change between neighbouring pixels at an edge, in levels of 255; backgrounds change less.
_EDGE = 16.0
NUM_FEATURES = 6 + 3 * MATCHED_FRAMES + len(SHAPES)


@dataclass(frozen=True)
class Steadiness:
    """Whether the object of a clip keeps its attributes from start to end."""

    colour: bool
    shape: bool
    size: bool


def steadiness(video_FHW3: np.ndarray, motion: str) -> Steadiness:
    """Compares a clip's first and last four frames, each read as a clip of its own.

    The colour is kept if it changes by at most `MAX_COLOUR_DRIFT`, the shape if both ends are read
    as the same one, the size if the radius changes as the motion implies, within a factor of
    `MAX_SIZE_DRIFT`. If the object is not visible at one end, nothing is kept.

    Args:
        video_FHW3: uint8 [F, H, W, 3] with H = W and F ≥ 8, spanning the whole motion in even
            steps.
        motion: the requested motion, of `data.shapes.MOTIONS`.

    Raises:
        UserError: there are fewer frames, or as for `analyse`.
    """
    if len(video_FHW3) < 2 * END_FRAMES:
        raise UserError(f"need {2 * END_FRAMES} frames or more, got {len(video_FHW3)}")
    ends = video_FHW3[:END_FRAMES], video_FHW3[-END_FRAMES:]
    first, last = (take_apart(end) for end in ends)
    if first.colour is None or last.colour is None or not (_is_seen(first) and _is_seen(last)):
        return Steadiness(False, False, False)
    drift = float(np.linalg.norm(first.colour - last.colour))
    # A share of the change of the logarithm: a clip grows by the same factor in every frame.
    passed = (len(video_FHW3) - END_FRAMES) / (len(video_FHW3) - 1)
    wanted = SCALINGS.get(motion, 1.0) ** passed
    change = _mean_radius(last) / _mean_radius(first) / wanted
    return Steadiness(
        colour=drift <= MAX_COLOUR_DRIFT,
        shape=analyse(ends[0]).shape == analyse(ends[1]).shape,
        size=abs(math.log(change)) <= math.log(MAX_SIZE_DRIFT),
    )


def flicker(video_FHW3: np.ndarray) -> float:
    """Returns the mean absolute change of the background between frames, in levels of 255.

    The background is everything at least four pixels (of 64) from the object in both frames. The
    result is NaN without background or without a second frame. True clips have 0.
    """
    video_FHW3 = np.asarray(video_FHW3)
    alpha_FHW = take_apart(video_FHW3).alpha_FHW
    rim = 2 * round(_RIM * alpha_FHW.shape[1] / 64) + 1
    kernel = np.ones((rim, rim), np.uint8)
    near_FHW = np.stack([cv2.dilate((a > 0.05).astype(np.uint8), kernel) for a in alpha_FHW]) > 0
    away_FHW = ~(near_FHW[1:] | near_FHW[:-1])
    return mean_change(video_FHW3, away_FHW)


def roughness(video_FHW3: np.ndarray) -> float:
    """Returns the mean absolute second difference over time, relative to the mean first one.

    It is 0 for pixels that change at a constant rate; 2 for ones that change and stop in turn, such
    as those of a clip with every frame shown twice.
    """
    x = video_FHW3.astype(np.float32)
    change = np.abs(np.diff(x, axis=0)).mean()
    return float(np.abs(np.diff(x, n=2, axis=0)).mean() / max(change, 1e-6))


def change_error(clip_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    """Returns the mean absolute error of the change between frames, in levels of 255."""
    change, true_change = (np.diff(x.astype(np.float32), axis=0) for x in (clip_FHW3, truth_FHW3))
    return float(np.abs(change - true_change).mean())


def sharpness(clip_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    """Returns how steep the true clip's edges are in another clip, relative to the true clip.

    This is the mean change in the direction of the true change, over neighbouring pixels between
    which the true clip changes by at least `_EDGE` levels of 255. It is 1 for the true clip, less
    for a blurred one, and the same for one with noise added. NaN without edges.
    """
    steepness = []
    for axis in (1, 2):
        change, true_change = (
            np.diff(x.astype(np.float32), axis=axis) for x in (clip_FHW3, truth_FHW3)
        )
        edges = np.abs(true_change) >= _EDGE
        steepness.append(
            (np.sum((change * np.sign(true_change))[edges]), np.sum(np.abs(true_change)[edges]))
        )
    found, wanted = np.sum(steepness, axis=0)
    return float(found / wanted) if wanted > 0 else math.nan


def features(video_FHW3: np.ndarray) -> np.ndarray:
    """Returns a clip's features for `frechet_distance`, float64 [`NUM_FEATURES`].

    The object's and the background's colour (0..1); its centre (0..1 of the frame) and the square
    root of its share of the frame, at six times; and how well each of the shapes covers it (0..1).
    Without an object: the background's colour twice, the middle, and zeros.
    """
    scene = take_apart(video_FHW3)
    few = np.linspace(0, len(video_FHW3) - 1, MATCHED_FRAMES).round().astype(int)
    centre_F2, size_F = np.full((MATCHED_FRAMES, 2), 0.5), np.zeros(MATCHED_FRAMES)
    overlaps = dict.fromkeys(SHAPES, 0.0)
    background = scene.background_HW3.mean((0, 1))
    colour = background if scene.colour is None else scene.colour
    seen_F = scene.seen_F[few]
    if seen_F.any():
        alpha_FHW, side = scene.alpha_FHW[few][seen_F], scene.alpha_FHW.shape[1]
        overlaps = shape_overlaps(alpha_FHW)
        centre_N2, area_N = locate(alpha_FHW)
        centre_F2[seen_F], size_F[seen_F] = centre_N2 / side, np.sqrt(area_N) / side
    parts = colour / 255, background / 255, centre_F2.ravel(), size_F, list(overlaps.values())
    return np.concatenate(parts).astype(np.float64)


def _is_seen(scene: Scene) -> bool:
    return bool(scene.seen_F.any())


def _mean_radius(scene: Scene) -> float:
    """Returns the geometric mean over frames with the object, up to a factor of the shape."""
    _, area_F = locate(scene.alpha_FHW[scene.seen_F])
    return float(np.exp(np.log(area_F).mean() / 2))
