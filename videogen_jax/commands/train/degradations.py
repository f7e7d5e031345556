"""Draws clips before and after degradation: `videogen degradations DATASET OUT.png`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.data.clips.sources.tfds_clips import open_clips
from videogen_jax.data.clips.windows import ClipWindows
from videogen_jax.data.degradation_sheet import save_degradation_sheet
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.shapes.sources import ShapesClips


def main(
    dataset: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    degrade: DegradeConfig = DegradeConfig(),
    clips: int = 4,
    num_frames: int = 16,
    resolution: int = 256,
    seed: int = 0,
) -> None:
    """Draws clips before and after degradation, two rows each, and prints the degradations.

    The video decoder is trained to undo these degradations.

    Args:
        dataset: folder written by `ingest` or `to-tfds`, or `shapes` for the procedural clips.
        out: the PNG file to write.
        degrade: the distributions that degradations are drawn from.
        clips: number of clips.
        num_frames: frames of each clip; six of them are shown.
        resolution: pixels per side, even.
        seed: seed of windows and degradations.
    """
    if dataset == Path("shapes"):
        source = ShapesClips("train", clips, resolution=resolution, num_frames=num_frames)
    else:
        source = ClipWindows(open_clips(dataset), num_frames, resolution, seed=seed)
    print("\n".join(save_degradation_sheet(source, degrade, out, clips, seed)))


call = partial(command, main)
