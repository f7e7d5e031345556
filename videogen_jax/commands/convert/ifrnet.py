"""Converts IFRNet: `videogen convert ifrnet SOURCE.pth MODEL_DIR`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.conversion.ifrnet import convert_ifrnet
from videogen_jax.weights.model_dir import DType


def main(
    source: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    dtype: DType | None = None,
) -> None:
    """Adds the pixel-space flow network, `pixel_flow`, to a new or existing model directory.

    Args:
        source: checkpoint of IFRNet, IFRNet-S or IFRNet-L.
        model_dir: model directory.
        dtype: type of the weights on disk; by default the source's.
    """
    config = convert_ifrnet(source, model_dir, dtype)
    channels = ", ".join(map(str, config.encoder_channels))
    print(f"{model_dir}: pixel_flow with encoder channels {channels}")


call = partial(command, main)
