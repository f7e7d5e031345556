"""The clips that a run trains on: real ones, out of datasets of `python -m train.ingest`, or shapes."""

import sys
from typing import Any

from videogen_jax.data.clips.tfds_clips import open_clips
from videogen_jax.data.clips.windows import ClipWindows, Part
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Mixture, Source, example_at
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips, ShapesImages
from videogen_jax.errors import UserError
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.tasks.temporal_sr import FlowTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig


def clip_source(config: RunConfig, part: Part) -> Source | Mixture:
    """The examples of a run whose `data` names a dataset or a mixture of some.

    Says how many clips there are to train on, and how many are left out.

    Raises:
        MissingFile: no such dataset.
        UserError: the task cannot learn from real clips, no clip is left, or fewer than a batch.
    """
    if isinstance(config.task, FlowTaskConfig):
        raise UserError(
            "the flow learns from the true flows of procedural shapes, which real clips have not: "
            "leave data.dataset and data.mixture empty for this run"
        )
    data = config.data
    weighted = data.mixture or ((data.dataset, 1.0),)
    sources = tuple(_source(config, name, part) for name, _ in weighted)
    if part == "train":
        check_batch(config, [name for name, _ in weighted], sum(map(len, sources)))
    return Mixture(sources, tuple(weight for _, weight in weighted)) if data.mixture else sources[0]


def first_examples(source: Source | Mixture, number: int) -> list[dict[str, Any]]:
    """Examples in the source's order, of a mixture's parts in turn; once through, other windows."""
    parts = source.sources if isinstance(source, Mixture) else (source,)
    examples = []
    for place in range(number):
        turn, which = divmod(place, len(parts))
        epoch, index = divmod(turn, len(parts[which]))
        examples.append(example_at(parts[which], index, epoch))
    return examples


def shapes_clips(data: DataConfig, split: Part, size: int) -> ShapesClips | ShapesImages:
    """Procedural clips, or their first frames."""
    if data.num_frames == 1:
        return ShapesImages(split, size, resolution=data.resolution)
    return ShapesClips(split, size, resolution=data.resolution, num_frames=data.num_frames)


def clip_windows(data: DataConfig, name: str, part: Part, seed: int) -> ClipWindows:
    """The windows of a dataset's clips; says how many clips there are to train on."""
    clips = ClipWindows(
        open_clips(name),
        data.num_frames,
        data.resolution,
        fps=data.fps,
        part=part,
        held_back=data.held_back,
        random_crop=data.random_crop and part == "train",
        max_damaged=data.max_damaged,
        seed=seed,
    )
    if part == "train" and is_main():
        left_out = f", {clips.excluded} too short or too small" if clips.excluded else ""
        print(f"{name}: {len(clips)} clips to train on{left_out}", file=sys.stderr)
    return clips


def _source(config: RunConfig, name: str, part: Part) -> Source:
    clips = clip_windows(config.data, name, part, config.seed)
    if isinstance(config.task, VideoDecoderTaskConfig):
        return DegradedClips(clips, config.data.degrade)
    return clips


def check_batch(config: RunConfig, names: list[str], clips: int) -> None:
    """Raises UserError if there are fewer clips than a batch."""
    if clips < config.batch_size:
        raise UserError(
            f"{', '.join(names)}: {clips} clips to train on are fewer than a batch of "
            f"{config.batch_size} (batch_size); ingest more clips, or make the batch smaller"
        )
