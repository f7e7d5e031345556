"""What models of the shapes data are evaluated on: captions that were never trained on.

Letters: F frames, H height, W width; a trailing 3 are RGB channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from videogen_jax.data.shapes.captions import parse
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.evaluation.shapes_analyser import Reading
from videogen_jax.media.video import Video
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.videogen import VideoGen

BATCH = 8  # prompts that are sampled together


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Captions whose combination of shape, colour and motion is in no training clip.

    Attributes:
        captions: texts.
        asked: what each asks for, None for what it leaves open.
        clips: the true clips, uint8 [F, H, W, 3].
    """

    captions: tuple[str, ...]
    asked: tuple[Reading, ...]
    clips: tuple[np.ndarray, ...]


def held_out(count: int, resolution: int, num_frames: int = 16) -> HeldOut:
    """The first `count` held-out clips with `num_frames` frames over the whole motion."""
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
    """A video of each caption, in batches of eight; a number that eight divides compiles once.

    Args:
        model: any.
        captions: texts.
        seed: of the noise of the first batch; that of the others adds the number of captions before.
        options: of the videos, but for the seed.
        references: an image for each caption, by default generated ones.
    """
    videos: list[Video] = []
    for start in tqdm(range(0, len(captions), BATCH), desc="sampling", unit="batch"):
        batch = list(captions[start : start + BATCH])
        given = None if references is None else list(references[start : start + BATCH])
        # Another seed for each batch: place 0 of every batch has the same noise otherwise.
        videos += model(batch, reference=given, options=options, seed=seed + start)
    return videos
