"""Held-out captions and clips, on which models of the shapes data are evaluated.

Letters: F frames, H height, W width; a trailing 3 are RGB channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from videogen_jax.data.shapes.captions import parse
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.evaluation.shapes.analyser import Reading
from videogen_jax.media.video import Video
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.videogen import VideoGen

BATCH = 8  # prompts that are sampled together


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Captions whose combination of shape, colour and motion is in no training clip.

    Attributes:
        captions: texts.
        asked: the attributes that each caption names; None for those that it does not name.
        clips: the true clips, uint8 [F, H, W, 3].
    """

    captions: tuple[str, ...]
    asked: tuple[Reading, ...]
    clips: tuple[np.ndarray, ...]


def held_out(count: int, resolution: int, num_frames: int = 16) -> HeldOut:
    """Returns the first `count` held-out clips, with `num_frames` frames over the whole motion."""
    source = ShapesClips("held_out", count, resolution=resolution, num_frames=num_frames)
    examples = [source[index] for index in range(count)]
    captions = tuple(example["caption"] for example in examples)
    asked = tuple(Reading(**parse(caption)) for caption in captions)
    return HeldOut(captions, asked, tuple(example["video"] for example in examples))


def sample_videos(
    model: VideoGen,
    captions: Sequence[str],
    seed: int,
    options: VideoOptions,
    references: Sequence[np.ndarray] | None = None,
) -> list[Video]:
    """Samples a video of each caption, in batches of eight.

    A number of captions that eight divides compiles once.

    Args:
        model: any model.
        captions: texts.
        seed: seed of the first batch; other batches add the index of their first caption.
        options: options of the videos; `seed` replaces theirs.
        references: an image for each caption; by default images are generated.
    """
    videos: list[Video] = []
    for start in tqdm(range(0, len(captions), BATCH), desc="sampling", unit="batch"):
        batch = list(captions[start : start + BATCH])
        images = None if references is None else list(references[start : start + BATCH])
        # Each batch has its own seed: with one seed, position 0 of all would have the same noise.
        videos += model(batch, reference=images, options=options, seed=seed + start)
    return videos
