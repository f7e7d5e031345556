"""How steady a video is over time, without a true one: warping error and flicker.

Optical flow is OpenCV's DIS (Kroeger et al. 2016), from each frame to the next and back, on the
host. It needs no weights and runs on any machine; scores of papers that use FlowNet2 or RAFT are
not comparable with these.

Letters: F frames, P = F − 1 pairs of neighbouring frames, H height, W width; `3` RGB channels, `2`
a flow's (x, y).
"""

import math
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.warp import backward_warp

MIN_SIZE = 32  # pixels a side, for DIS
_STILL = 0.5  # pixels from frame to frame


class Flows(NamedTuple):
    """The optical flow of each pair of neighbouring frames, in pixels, float32.

    Attributes:
        forward_PHW2: From the pixels of a frame to their places in the next.
        backward_PHW2: From the pixels of the next frame to their places in this one.
    """

    forward_PHW2: np.ndarray
    backward_PHW2: np.ndarray


def estimate_flows(video_FHW3: np.ndarray) -> Flows:
    """Estimates the flows of a uint8 video by DIS with OpenCV's preset `medium`, on grey levels.

    Raises:
        UserError: It has fewer than two frames, or a side below `MIN_SIZE` pixels.
    """
    frames, height, width = video_FHW3.shape[:3]
    if frames < 2 or min(height, width) < MIN_SIZE:
        raise UserError(
            f"optical flow needs 2 frames of {MIN_SIZE} pixels a side or more, got {frames} of "
            f"{height}×{width}"
        )
    # Any, because OpenCV's annotations lack the None that makes a new array for each result.
    calc: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video_FHW3]
    forward = [calc(a, b, None) for a, b in zip(grey, grey[1:], strict=False)]
    backward = [calc(b, a, None) for a, b in zip(grey, grey[1:], strict=False)]
    return Flows(np.stack(forward), np.stack(backward))


def warping_error(video_FHW3: np.ndarray, flows: Flows | None = None) -> float:
    """Returns the warping error of a video (Lai et al. 2018), in squared pixels of [0, 1].

    Each frame is compared with the next, warped to it by the forward flow. The squared difference
    is averaged over channels and over the pixels that are seen in both frames (`seen_in_both`),
    then over pairs. A pair without such pixels is left out; NaN without any pair.

    Args:
        video_FHW3: uint8 [F, H, W, 3], F ≥ 2.
        flows: Of this video, or of the one that it was made from; None estimates this video's.

    Raises:
        UserError: As `estimate_flows`.
    """
    flows = estimate_flows(video_FHW3) if flows is None else flows
    video = video_FHW3.astype(np.float32) / 255
    squared_P, seen_P = _warped_difference(video[:-1], video[1:], *flows)
    errors_P = np.asarray(squared_P)[np.asarray(seen_P) > 0]
    return float(errors_P.mean()) if errors_P.size else math.nan


def flicker(video_FHW3: np.ndarray, flows: Flows | None = None) -> float:
    """Returns the mean absolute change from frame to frame of what is still, in levels of 255.

    Still are the pixels with a flow below half a pixel, forward and backward. NaN without any.

    Args:
        video_FHW3: uint8 [F, H, W, 3], F ≥ 2.
        flows: As in `warping_error`.

    Raises:
        UserError: As `estimate_flows`.
    """
    flows = estimate_flows(video_FHW3) if flows is None else flows
    still = [np.linalg.norm(flow, axis=-1) < _STILL for flow in flows]
    return mean_change(video_FHW3, still[0] & still[1])


def mean_change(video_FHW3: np.ndarray, where_PHW: np.ndarray) -> float:
    """Returns the mean absolute change between neighbouring frames, in levels of 255.

    Args:
        video_FHW3: uint8 [F, H, W, 3].
        where_PHW: bool, the pixels of each pair that count. NaN without any.
    """
    change_PHW = np.abs(np.diff(video_FHW3.astype(np.float32), axis=0)).mean(-1)
    return float(change_PHW[where_PHW].mean()) if where_PHW.any() else math.nan


@jax.jit
def seen_in_both(forward_PHW2: jax.Array, backward_PHW2: jax.Array) -> jax.Array:
    """Returns bool [P, H, W]: whether a frame's pixels are seen in the next one too.

    As in Ruder et al. 2016, which Lai et al. use: the way forward and back must end near its start,
    |w + w'|² ≤ 0.01 (|w|² + |w'|²) + 0.5, and a pixel must not lie at a border of motion,
    |∇w|² ≤ 0.01 |w|² + 0.002. It must also stay inside the frame.
    """
    back_PHW2 = backward_warp(backward_PHW2, forward_PHW2)
    squared = lambda flow: jnp.square(flow).sum(-1)
    size_PHW = squared(forward_PHW2)
    returns = squared(forward_PHW2 + back_PHW2) <= 0.01 * (size_PHW + squared(back_PHW2)) + 0.5
    rows, columns = (jnp.gradient(forward_PHW2, axis=axis) for axis in (1, 2))
    inside_motion = squared(rows) + squared(columns) <= 0.01 * size_PHW + 0.002
    height, width = forward_PHW2.shape[1:3]
    x = jnp.arange(width)[None, None, :] + forward_PHW2[..., 0]
    y = jnp.arange(height)[None, :, None] + forward_PHW2[..., 1]
    return returns & inside_motion & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


@jax.jit
def _warped_difference(
    frames_PHW3: jax.Array, next_PHW3: jax.Array, forward_PHW2: jax.Array, backward_PHW2: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns each pair's mean squared difference where both are seen, and the number of pixels."""
    seen_PHW = seen_in_both(forward_PHW2, backward_PHW2)
    squared_PHW = jnp.square(frames_PHW3 - backward_warp(next_PHW3, forward_PHW2)).mean(-1)
    count_P = seen_PHW.sum(axis=(1, 2))
    total_P = jnp.where(seen_PHW, squared_PHW, 0).sum(axis=(1, 2))
    return total_P / jnp.maximum(count_P, 1), count_P
