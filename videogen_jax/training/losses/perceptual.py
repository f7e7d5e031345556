"""The LPIPS term of a reconstruction loss, for decoders of images and videos (§3.4).

VQGAN (Esser et al. 2021) and Stable Diffusion's autoencoder train with L1 + 1.0 · LPIPS.

Letters: B clips, F frames, K chosen frames, N images, H height, W width, C channels.
"""

import jax
import jax.numpy as jnp

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import LPIPS_COMPONENT
from videogen_jax.models.features.lpips import lpips
from videogen_jax.training.task import Params, TaskContext


def perceptual_network(lpips_dir: str, weight: float, context: TaskContext) -> dict[str, Params]:
    """Returns the frozen network of the term by name, in the compute dtype; none if it is off.

    Args:
        lpips_dir: `task.lpips`, the directory that `convert.lpips` wrote; empty turns the term off.
        weight: `task.perceptual_weight`, the term's weight; 0 turns it off.
        context: of the task.

    Raises:
        MissingFile: the directory has no `lpips`.
        UserError: the weight is negative, or only one of the two is given; or a file is damaged.
    """
    if weight < 0:
        raise UserError(f"task.perceptual_weight is {weight}, expected 0 or more")
    if weight and not lpips_dir:
        raise UserError(
            f"task.perceptual_weight is {weight}, but task.lpips is empty: expected the directory "
            "that `convert.lpips` wrote, or a weight of 0"
        )
    if lpips_dir and not weight:
        raise UserError(
            f"task.lpips is {lpips_dir!r}, but task.perceptual_weight is 0: expected a weight "
            "above 0 (1 in Stable Diffusion's autoencoder), or no directory"
        )
    if not weight:
        return {}
    _, params = context.feature_network(LPIPS_COMPONENT, lpips_dir)
    return {LPIPS_COMPONENT: trees.in_dtype(params, context.compute.dtype)}


def perceptual_loss(frozen: Params, x_NHWC: jax.Array, y_NHWC: jax.Array) -> jax.Array:
    """Returns the mean LPIPS distance of pairs of images in [-1, 1], float32.

    Args:
        frozen: contains what `perceptual_network` returned. Its dtype is that of the convolutions;
            the distances of their features are computed in float32.
        x_NHWC: images, RGB.
        y_NHWC: the images to compare with.

    Raises:
        UserError: the images are smaller than the network's features.
    """
    params = frozen[LPIPS_COMPONENT]
    dtype = jax.tree.leaves(params)[0].dtype
    return lpips(params, x_NHWC, y_NHWC, dtype).mean()


def draw_frames(keys_B: jax.Array, num_frames: int, count: int) -> jax.Array:
    """Draws `count` different frames of each clip from the clip's key, int `[B, K]`."""

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.choice(key, num_frames, (count,), replace=False)

    return jax.vmap(draw)(keys_B)


def take_frames(video_BFHWC: jax.Array, frames_BK: jax.Array) -> jax.Array:
    """Returns the chosen frames of each clip, `[B, K, H, W, C]`."""
    return jnp.take_along_axis(video_BFHWC, frames_BK[:, :, None, None, None], axis=1)
