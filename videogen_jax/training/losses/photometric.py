"""The photometric loss of flows without targets: frames that they warp must match (§3.5).

The terms are those of UFlow (Jonschkowski et al. 2020, "What Matters in Unsupervised Optical
Flow"): census and smoothness at the resolution of the frames, without the pixels that a flow takes
from outside the frame. A Charbonnier loss of the pixels is added. On latents the same terms learn
motion far more slowly (docs/real-clips.md).

Letters: B batch, H height, W width, C channels; `2` is a flow's (x, y).
"""

import jax
import jax.numpy as jnp

from videogen_jax.models.warp import backward_warp, resize_flow
from videogen_jax.training.losses.flow import census_loss, charbonnier_loss

_CENSUS_CONTRAST = 4.0  # on [-1, 1]: differences above 30 of 255 levels saturate
_EDGE = 10.0  # how fast smoothness ends at edges, per difference of neighbours on [-1, 1]
_SMOOTH_EPSILON = 1e-3  # pixels


def photometric_loss(
    flows: tuple[jax.Array, jax.Array],
    frames: tuple[jax.Array, jax.Array, jax.Array],
    patch_size: int,
    smoothness: float,
) -> jax.Array:
    """Returns the loss of two flows, summed over them.

    Args:
        flows: `[B, h, w, 2]` from mid to a and to b, in pixels of their own grid. They are resized
            and rescaled to the frames.
        frames: a, mid and b in [-1, 1], `[B, H, W, C]`.
        patch_size: of the census loss.
        smoothness: weight of the flows' smoothness beside the comparison of frames.

    Raises:
        UserError: the frames are smaller than a patch.
    """
    a_BHWC, mid_BHWC, b_BHWC = frames
    total = jnp.zeros(())
    for flow, frame_BHWC in zip(flows, (a_BHWC, b_BHWC), strict=True):
        flow_BHW2 = resize_flow(flow, mid_BHWC.shape[1:3])
        warped_BHWC = backward_warp(frame_BHWC, flow_BHW2)
        warped_BHWC = jnp.where(_ends_inside(flow_BHW2), warped_BHWC, mid_BHWC)
        census = census_loss(_grey(warped_BHWC), _grey(mid_BHWC), patch_size)
        total += charbonnier_loss(warped_BHWC - mid_BHWC) + census
        total += smoothness * smoothness_loss(flow_BHW2, mid_BHWC)
    return total


def smoothness_loss(flow_BHW2: jax.Array, image_BHWC: jax.Array) -> jax.Array:
    """Returns the mean difference of neighbouring flows, weighted by `exp(−10 · |∇image|)`."""
    total = jnp.zeros(())
    for axis in (1, 2):
        edge_BHW1 = jnp.abs(jnp.diff(image_BHWC, axis=axis)).mean(axis=-1, keepdims=True)
        change_BHW2 = jnp.diff(flow_BHW2, axis=axis)
        change_BHW2 = jnp.sqrt(jnp.square(change_BHW2) + _SMOOTH_EPSILON**2)
        total += (jnp.exp(-_EDGE * edge_BHW1) * change_BHW2).mean()
    return total


def _ends_inside(flow_BHW2: jax.Array) -> jax.Array:
    """Returns where a flow ends inside the frame, bool `[B, H, W, 1]`."""
    height, width = flow_BHW2.shape[1:3]
    rows, columns = jnp.mgrid[:height, :width]
    ends = jnp.stack([columns, rows], axis=-1) + flow_BHW2
    last = jnp.array([width - 1, height - 1])
    return ((ends >= 0) & (ends <= last)).all(axis=-1, keepdims=True)


def _grey(x_BHWC: jax.Array) -> jax.Array:
    return _CENSUS_CONTRAST * x_BHWC.mean(axis=-1, keepdims=True)
