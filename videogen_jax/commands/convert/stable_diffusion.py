"""Converts Stable Diffusion: `videogen convert stable-diffusion SOURCE MODEL_DIR`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    ConversionOptions,
    convert_stable_diffusion,
    describe_conversion,
)


def main(
    source: tyro.conf.Positional[Path],
    model_dir: tyro.conf.Positional[Path],
    /,
    options: tyro.conf.OmitArgPrefixes[ConversionOptions] = ConversionOptions(),
    dry_run: bool = False,
) -> None:
    """Converts Stable Diffusion 1 or 2 to a model directory.

    The directory contains the text encoder, the image UNet, the autoencoder and the tokenizer, and
    a configuration with the paper's cascade, whose stages can start warm from the image UNet.

    Args:
        source: diffusers folder, hub id, or single file (.ckpt, .safetensors).
        model_dir: directory to write.
        options: options of the conversion.
        dry_run: check everything and print the shapes and where each weight would go, without
            writing anything.
    """
    if dry_run:
        describe_conversion(source, PAPER, options, print)
    else:
        convert_stable_diffusion(source, model_dir, PAPER, options=options, log=print)
        print(f"wrote {model_dir}")


call = partial(command, main, config=(tyro.conf.FlagCreatePairsOff, tyro.conf.UseAppendAction))
