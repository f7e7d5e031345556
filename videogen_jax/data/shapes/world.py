"""Procedural clips of one coloured shape in motion: a pure function of (split, index).

A clip is a `ClipSpec`, from which frames at any resolution and any real-valued time and the true
optical flow are computed. Geometry is in pixels of a 64 x 64 frame, x to the right, y down, pixel
centres at half-integers. Time is in frames of the 16-frame clip, from 0 (first) to 15 (last), and
may be fractional.

Shape letters: F frames, H height, W width, C colour channels (RGB); a trailing 2 is an (x, y) pair.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from videogen_jax.data.shapes.outlines import SHAPES, coverage, extents

NUM_FRAMES = 16
REFERENCE_RESOLUTION = 64
LAST_TIME = NUM_FRAMES - 1.0
GROWTH = 1.9

SPLITS = ("train", "validation", "held_out")
COLOURS = {
    "red": (222, 28, 36),
    "orange": (255, 124, 8),
    "yellow": (255, 232, 24),
    "green": (24, 168, 56),
    "cyan": (16, 216, 228),
    "blue": (36, 84, 252),
    "purple": (148, 40, 208),
    "pink": (255, 92, 184),
}
BACKGROUNDS = {
    "black": (14, 14, 14),
    "white": (240, 240, 240),
    "gray": (128, 128, 128),
    "navy": (16, 22, 82),
    "beige": (226, 208, 172),
    "brown": (100, 64, 38),
}
SIZES = {"small": (9.0, 11.5), "large": (13.0, 16.0)}
"""Range of the radius in the first frame, in pixels of a 64 x 64 frame."""

_DIAGONAL = math.sqrt(0.5)
DIRECTIONS = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "up and left": (-_DIAGONAL, -_DIAGONAL),
    "up and right": (_DIAGONAL, -_DIAGONAL),
    "down and left": (-_DIAGONAL, _DIAGONAL),
    "down and right": (_DIAGONAL, _DIAGONAL),
}
SCALINGS = {"growing": GROWTH, "shrinking": 1.0 / GROWTH}
"""Ratio of the last radius to the first."""
MOTIONS = (*DIRECTIONS, *SCALINGS)

FPS_RANGE = (8.0, 11.2)
TRAVEL_AT_8_FPS = 28.0
GRADIENT_RANGE = (6.0, 18.0)
HELD_OUT_FRACTION = 0.1

_SPLIT_SEEDS = {"train": 1, "validation": 2, "held_out": 3}


@dataclass(frozen=True)
class ClipSpec:
    """The specification of a clip. Lengths are in pixels of a 64 x 64 frame.

    Attributes:
        shape, colour, size, motion, background: names from the vocabulary of this module.
        radius: radius of the object in the first frame.
        start: centre (x, y) of the object in the first frame.
        travel: distance from first to last frame; 0 for growing and shrinking.
        fps: frames per second of the 16-frame clip. The speed per second is fixed, so travel is
            28 * 8 / fps.
        gradient_direction: angle in radians along which the background becomes brighter.
        gradient_strength: brightness difference (of 255) across one frame width in that direction.
        caption_seed: seed of the choice of words in the clip's caption.
    """

    shape: str
    colour: str
    size: str
    motion: str
    background: str
    radius: float
    start: tuple[float, float]
    travel: float
    fps: float
    gradient_direction: float
    gradient_strength: float
    caption_seed: int


@cache
def combinations(split: str) -> tuple[tuple[str, str, str], ...]:
    """Returns the (shape, colour, motion) triples of a split.

    About a tenth of the 400 triples, picked by a hash of their names, belong to "held_out" and to
    no other split. Every single value and every pair of values still occurs in "train" and
    "validation".

    Raises:
        ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    triples = product(SHAPES, COLOURS, MOTIONS)
    return tuple(triple for triple in triples if _is_held_out(triple) == (split == "held_out"))


def _is_held_out(triple: tuple[str, str, str]) -> bool:
    digest = hashlib.sha256("/".join(triple).encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_FRACTION * 2**32


def clip_spec(split: str, index: int) -> ClipSpec:
    """Returns clip number `index` (any integer >= 0) of a split; the same on every machine.

    Raises:
        ValueError: unknown split, or negative index.
    """
    triples = combinations(split)
    if index < 0:
        raise ValueError(f"index must be >= 0, got {index}")
    seeds = np.random.SeedSequence([_SPLIT_SEEDS[split], index])
    rng = np.random.Generator(np.random.Philox(seeds))
    shape, colour, motion = triples[rng.integers(len(triples))]
    size = tuple(SIZES)[rng.integers(len(SIZES))]
    background = tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
    radius = rng.uniform(*SIZES[size])
    fps = rng.uniform(*FPS_RANGE)
    travel = TRAVEL_AT_8_FPS * FPS_RANGE[0] / fps if motion in DIRECTIONS else 0.0
    return ClipSpec(
        shape=shape,
        colour=colour,
        size=size,
        motion=motion,
        background=background,
        radius=radius,
        start=_draw_start(rng, shape, motion, radius, travel),
        travel=travel,
        fps=fps,
        gradient_direction=rng.uniform(0.0, 2.0 * math.pi),
        gradient_strength=rng.uniform(*GRADIENT_RANGE),
        caption_seed=int(rng.integers(2**32)),
    )


def _draw_start(
    rng: np.random.Generator, shape: str, motion: str, radius: float, travel: float
) -> tuple[float, float]:
    """Draws a centre uniformly from those that keep the object in the frame at all times."""
    largest = radius * max(1.0, SCALINGS.get(motion, 1.0))
    left, right, up, down = (largest * extent for extent in extents(shape))
    dx, dy = (travel * component for component in DIRECTIONS.get(motion, (0.0, 0.0)))
    x = rng.uniform(left - min(dx, 0.0), REFERENCE_RESOLUTION - right - max(dx, 0.0))
    y = rng.uniform(up - min(dy, 0.0), REFERENCE_RESOLUTION - down - max(dy, 0.0))
    return x, y


def centre_at(spec: ClipSpec, times_F: ArrayLike) -> np.ndarray:
    """Returns the object's centre (x, y) at each time, float64 [F, 2], in 64 x 64 pixels."""
    fraction_F1 = _checked_times(times_F)[:, None] / LAST_TIME
    direction = np.asarray(DIRECTIONS.get(spec.motion, (0.0, 0.0)))
    return np.asarray(spec.start) + fraction_F1 * spec.travel * direction


def radius_at(spec: ClipSpec, times_F: ArrayLike) -> np.ndarray:
    """Returns the object's radius at each time, float64 [F], in 64 x 64 pixels."""
    return spec.radius * SCALINGS.get(spec.motion, 1.0) ** (_checked_times(times_F) / LAST_TIME)


def _checked_times(times_F: ArrayLike) -> np.ndarray:
    times_F = np.asarray(times_F, np.float64)
    if times_F.ndim != 1 or not np.all((times_F >= 0.0) & (times_F <= LAST_TIME)):
        raise ValueError(f"times must be a vector of values in [0, {LAST_TIME:g}], got {times_F!r}")
    return times_F


def render(
    spec: ClipSpec, times_F: ArrayLike, resolution: int = REFERENCE_RESOLUTION
) -> np.ndarray:
    """Renders frames at real-valued times.

    Args:
        spec: the clip.
        times_F: times in frames, each in [0, 15].
        resolution: height and width in pixels.

    Returns:
        uint8 [F, H, W, 3], edges antialiased over one pixel.

    Raises:
        ValueError: a time outside the clip.
    """
    scale = resolution / REFERENCE_RESOLUTION
    centre_F2 = centre_at(spec, times_F) * scale
    alpha_FHW = coverage(spec.shape, centre_F2, radius_at(spec, times_F) * scale, resolution)
    background_HWC = _background(spec, resolution)
    contrast_HWC = np.asarray(COLOURS[spec.colour], np.float32) - background_HWC
    frames_FHWC = alpha_FHW[..., None] * contrast_HWC
    frames_FHWC += background_HWC + np.float32(0.5)  # the truncating cast then rounds
    return frames_FHWC.astype(np.uint8)


def _background(spec: ClipSpec, resolution: int) -> np.ndarray:
    """Renders a colour with a linear brightness gradient, float32 [H, W, 3] in 0..255."""
    along_W = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution - 0.5
    ramp_HW = math.cos(spec.gradient_direction) * along_W
    ramp_HW = ramp_HW + math.sin(spec.gradient_direction) * along_W[:, None]
    base = np.asarray(BACKGROUNDS[spec.background], np.float32)
    return np.clip(base + np.float32(spec.gradient_strength) * ramp_HW[..., None], 0.0, 255.0)


def flow(
    spec: ClipSpec, time_from: float, time_to: float, resolution: int = REFERENCE_RESOLUTION
) -> np.ndarray:
    """Computes the true optical flow that warps frame `time_to` backward into frame `time_from`.

    flow[y, x] = (dx, dy) points from pixel (x, y) of frame `time_from` to the position of the same
    point of the object in frame `time_to`: frame_from[y, x] = frame_to[y + dy, x + dx]. IFRNet
    (Kong et al. 2022, equation 1) calls `flow(spec, mid, a)` the intermediate flow from t to 0.

    Returns:
        float32 [H, W, 2], in pixels of this resolution; 0 where frame `time_from` shows background.
    """
    scale = resolution / REFERENCE_RESOLUTION
    times = (time_from, time_to)
    centre_from, centre_to = centre_at(spec, times) * scale
    radius_from, radius_to = radius_at(spec, times) * scale
    alpha_FHW = coverage(spec.shape, centre_from[None], np.asarray([radius_from]), resolution)
    grid = np.arange(resolution) + 0.5
    offset_HW2 = np.stack(np.meshgrid(grid, grid), axis=-1) - centre_from
    moved_HW2 = centre_to - centre_from + offset_HW2 * (radius_to / radius_from - 1.0)
    return (moved_HW2 * (alpha_FHW[0] > 0)[..., None]).astype(np.float32)
