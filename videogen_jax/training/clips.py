"""The real clips that a run trains on, out of datasets that `python -m train.ingest` wrote."""

import sys
from typing import Any

from videogen_jax.data.loader import Mixture, Source, example_at
from videogen_jax.data.sources import DegradedClips
from videogen_jax.data.tfds_clips import open_clips
from videogen_jax.data.windows import ClipWindows, Part
from videogen_jax.training.distributed import is_main
from videogen_jax.training.runs import RunConfig
from videogen_jax.training.tasks.temporal_sr import FlowTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig


def clip_source(config: RunConfig, part: Part) -> Source | Mixture:
    """The examples of a run whose `data` names a dataset or a mixture of some.

    Says how many clips there are to train on, and how many are left out.

    Raises:
        FileNotFoundError: no such dataset.
        ValueError: the task cannot learn from real clips, no clip is left, or fewer than a batch.
    """
    if isinstance(config.task, FlowTaskConfig):
        raise ValueError(
            "the flow learns from the true flows of procedural shapes, which real clips have not: "
            "leave data.dataset and data.mixture empty for this run"
        )
    data = config.data
    weighted = data.mixture or ((data.dataset, 1.0),)
    sources = tuple(_source(config, name, part) for name, _ in weighted)
    if part == "train":
        _check_batch(config, [name for name, _ in weighted], sum(map(len, sources)))
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


def _source(config: RunConfig, name: str, part: Part) -> Source:
    data = config.data
    clips = ClipWindows(
        open_clips(name),
        data.num_frames,
        data.resolution,
        fps=data.fps,
        part=part,
        held_back=data.held_back,
        random_crop=data.random_crop and part == "train",
        max_damaged=data.max_damaged,
        seed=config.seed,
    )
    if part == "train" and is_main():
        left_out = f", {clips.excluded} too short or too small" if clips.excluded else ""
        print(f"{name}: {len(clips)} clips to train on{left_out}", file=sys.stderr)
    if isinstance(config.task, VideoDecoderTaskConfig):
        return DegradedClips(clips, data.degrade)
    return clips


def _check_batch(config: RunConfig, names: list[str], clips: int) -> None:
    if clips < config.batch_size:
        raise ValueError(
            f"{', '.join(names)}: {clips} clips to train on are fewer than a batch of "
            f"{config.batch_size} (batch_size); ingest more clips, or make the batch smaller"
        )
