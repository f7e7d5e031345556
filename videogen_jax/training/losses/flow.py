"""The losses of IFRNet (Kong et al., CVPR 2022), for LatentFlow on pixels or latents.

The parts are reconstruction of the middle frame (Charbonnier + census), feature space geometry
consistency, and task-oriented flow distillation from target flows. On latents, the paper's target
flows are the resized ones of a pixel-space IFRNet (VideoGen §3.5). Constants without a name in the
IFRNet paper are those of its reference implementation (github.com/ltkong218/IFRNet).

Letters: B batch, H height, W width, C channels.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from videogen_jax.errors import UserError
from videogen_jax.models.flow import FlowOutput

_CHARBONNIER_EPSILON = 1e-3
_CENSUS_SOFT_SIGN = 0.81  # differences well below its square root, 0.9, keep their size
_CENSUS_SATURATION = 0.1  # squared distances well above it count as 1, as in a Hamming distance
_GEOMETRY_PATCH_SIZE = 3


@dataclasses.dataclass(frozen=True)
class FlowLossConfig:
    """Weights of the loss; the defaults are IFRNet's where it has them, except `census_grey`.

    IFRNet enables `census_grey`.

    Raises UserError if `census_patch_size` is even or below 3.
    """

    charbonnier_weight: float = 1.0
    census_weight: float = 1.0
    geometry_weight: float = 0.01
    distillation_weight: float = 0.01
    census_patch_size: int = 7
    census_grey: bool = False  # compare channel means: for pixels, not for latents
    robustness: float = 0.3  # β: how fast a target's weight falls with its distance, per pixel
    # Not in IFRNet: the distance of the finest flows from their targets. IFRNet gives targets to
    # the others alone, but on latents the residual makes up for a wrong flow.
    end_point_weight: float = 1.0
    # Not in IFRNet: the loss of frames that a flow without a target warps (losses/photometric.py),
    # and in it the weight of the flow's smoothness. It needs pixels; a latent cache has none.
    photometric_weight: float = 2.0
    smoothness: float = 0.02

    def __post_init__(self) -> None:
        if self.census_patch_size < 3 or self.census_patch_size % 2 == 0:
            raise UserError(
                f"census_patch_size must be odd and at least 3, got {self.census_patch_size}"
            )


def charbonnier_loss(difference: jax.Array) -> jax.Array:
    """Returns the mean of `sqrt(difference² + ε²)`, an L1 that is smooth at zero; any shape."""
    return jnp.sqrt(jnp.square(difference) + _CHARBONNIER_EPSILON**2).mean()


def census_loss(x_BHWC: jax.Array, y_BHWC: jax.Array, patch_size: int) -> jax.Array:
    """Returns the soft census (ternary) distance, in [0, 1): it compares structure, not brightness.

    Each pixel is described by its differences to the pixels around it, channel by channel
    (Meister et al. 2018, UnFlow). Pixels whose patch leaves the image count as 0, and the mean is
    over all pixels.

    Raises UserError if the image is smaller than a patch.
    """
    height, width = x_BHWC.shape[1:3]
    if min(height, width) < patch_size:
        raise UserError(
            f"the census loss needs at least {patch_size}×{patch_size} pixels, one patch, "
            f"got {height}×{width}: use a smaller patch, or fewer levels for features"
        )
    distance = jnp.square(_census(x_BHWC, patch_size) - _census(y_BHWC, patch_size))
    distance_BHW = (distance / (_CENSUS_SATURATION + distance)).mean(axis=(3, 4, 5))
    return distance_BHW.sum(axis=(1, 2)).mean() / (height * width)


def geometry_loss(features: Sequence[jax.Array], target_features: Sequence[jax.Array]) -> jax.Array:
    """Returns the feature space geometry loss: a census loss of features with 3×3 patches.

    It is summed over levels. The sequences pair `FlowOutput.features` with
    `LatentFlow.target_features`. The gradient reaches both sides, as in the reference
    implementation.
    """
    pairs = zip(features, target_features, strict=True)
    return jnp.stack([census_loss(x, y, _GEOMETRY_PATCH_SIZE) for x, y in pairs]).sum()


def robust_weight(
    flow_BHW2: jax.Array, target_flow_BHW2: jax.Array, robustness: float
) -> jax.Array:
    """Returns the weight of each target flow, `exp(−β · end-point error)`, `[B, H, W, 1]`.

    It is in (0, 1]: a target far from the flow that interpolates best is likely wrong. It has no
    gradient.
    """
    error_BHW1 = _end_point_error(flow_BHW2, target_flow_BHW2)[..., None]
    return jnp.exp(-robustness * error_BHW1)


def distillation_loss(
    flow_BHW2: jax.Array, target_flow_BHW2: jax.Array, weight_BHW1: jax.Array
) -> jax.Array:
    """Returns the generalised Charbonnier loss `(difference² + ε²)^α`, adapted by a weight `w`.

    `w` comes from `robust_weight`; `α = w/2` and `ε = 10^(−(10w − 1)/3)`. The loss is near L1 at
    pixels with a high weight, and flat, so without a gradient, at others.
    """
    epsilon = 10 ** (-(10 * weight_BHW1 - 1) / 3)
    squared = jnp.square(flow_BHW2 - target_flow_BHW2) + jnp.square(epsilon)
    return (squared ** (weight_BHW1 / 2)).mean()


def end_point_loss(
    flow_BHW2: jax.Array, target_flow_BHW2: jax.Array, weight_BHW1: jax.Array
) -> jax.Array:
    """Returns the mean distance of flows from their targets in pixels, weighted as above."""
    squared_BHW1 = jnp.square(flow_BHW2 - target_flow_BHW2).sum(axis=-1, keepdims=True)
    return (weight_BHW1 * jnp.sqrt(squared_BHW1 + _CHARBONNIER_EPSILON**2)).mean()


def flow_loss(
    output: FlowOutput,
    target_BHWC: jax.Array,
    target_features: Sequence[jax.Array],
    target_flows: tuple[jax.Array, jax.Array] | None,
    config: FlowLossConfig,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the training loss of LatentFlow, and its unweighted parts as metrics.

    `target_BHWC` is the true middle frame, and `target_features` are its features from
    `LatentFlow.target_features`. The target flows, `[B, H, W, 2]`, lead from it to frames a and b,
    in its pixels; without them the loss has no distillation. Metrics: `charbonnier`, `census`,
    `geometry`, and with target flows `distillation`, `end_point` and the mean `end_point_error` of
    the final flows in pixels, without the weights of `end_point`.
    """
    merged_BHWC = output.merged_BHWC
    target_BHWC = target_BHWC.astype(merged_BHWC.dtype)
    census_x, census_y = merged_BHWC, target_BHWC
    if config.census_grey:
        census_x, census_y = (x.mean(axis=-1, keepdims=True) for x in (census_x, census_y))

    metrics = {
        "charbonnier": charbonnier_loss(merged_BHWC - target_BHWC),
        "census": census_loss(census_x, census_y, config.census_patch_size),
        "geometry": geometry_loss(output.features, target_features),
    }
    loss = (
        config.charbonnier_weight * metrics["charbonnier"]
        + config.census_weight * metrics["census"]
        + config.geometry_weight * metrics["geometry"]
    )
    if target_flows is not None:
        metrics |= _flow_metrics(output, *target_flows, config.robustness)
        loss += config.distillation_weight * metrics["distillation"]
        loss += config.end_point_weight * metrics["end_point"]
    return loss, metrics


def _flow_metrics(
    output: FlowOutput, target_a_BHW2: jax.Array, target_b_BHW2: jax.Array, robustness: float
) -> dict[str, jax.Array]:
    """Returns the distillation of the coarser levels, and loss and error of the finest one."""
    weight_a = robust_weight(output.flow_a_BHW2, target_a_BHW2, robustness)
    weight_b = robust_weight(output.flow_b_BHW2, target_b_BHW2, robustness)
    distillation = sum(
        distillation_loss(flow_a, target_a_BHW2, weight_a)
        + distillation_loss(flow_b, target_b_BHW2, weight_b)
        for flow_a, flow_b in output.flows
    )
    end_point = end_point_loss(output.flow_a_BHW2, target_a_BHW2, weight_a)
    end_point += end_point_loss(output.flow_b_BHW2, target_b_BHW2, weight_b)
    errors_BHW = _end_point_error(
        jnp.concatenate([output.flow_a_BHW2, output.flow_b_BHW2]),
        jnp.concatenate([target_a_BHW2, target_b_BHW2]),
    )
    return {
        "distillation": jnp.asarray(distillation),
        "end_point": end_point,
        "end_point_error": errors_BHW.mean(),
    }


def _census(x_BHWC: jax.Array, patch_size: int) -> jax.Array:
    """Returns soft signs of inner pixels' differences to their patch, `[B, H', W', C, p, p]`."""
    x_BHWC = x_BHWC.astype(jnp.float32)
    patches = _windows(_windows(x_BHWC, patch_size, axis=1), patch_size, axis=2)
    radius = patch_size // 2
    difference = patches - patches[..., radius : radius + 1, radius : radius + 1]
    return difference * jax.lax.rsqrt(_CENSUS_SOFT_SIGN + jnp.square(difference))


def _windows(x: jax.Array, size: int, axis: int) -> jax.Array:
    """Returns all windows of `size` along an axis, as a new last axis."""
    length = x.shape[axis] - size + 1
    windows = [jax.lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(size)]
    return jnp.stack(windows, axis=-1)


def _end_point_error(flow_BHW2: jax.Array, target_flow_BHW2: jax.Array) -> jax.Array:
    """Returns the Euclidean distance of two flows, `[B, H, W]` in pixels, without a gradient."""
    difference_BHW2 = jax.lax.stop_gradient(flow_BHW2 - target_flow_BHW2)
    return jnp.linalg.norm(difference_BHW2, axis=-1)
