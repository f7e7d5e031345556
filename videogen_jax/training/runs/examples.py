"""The examples that a run trains on: real clips of ingested datasets, or procedural shapes."""

import logging
from typing import Any

from videogen_jax.data.aspect_batches import Buckets
from videogen_jax.data.clips.aspect_buckets import name_of
from videogen_jax.data.clips.sources.tfds_clips import open_clips
from videogen_jax.data.clips.windows import ClipWindows, Part
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Mixture, Source, example_at
from videogen_jax.errors import UserError
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.runs.config import RunConfig

_log = logging.getLogger(__name__)


def make_source(
    config: RunConfig, part: Part, examples: int | None = None, seed: int | None = None
) -> Source | Mixture | Buckets:
    """Returns the examples that a run's task trains on, from pixels.

    For a dataset, it prints the number of clips to train on and of those that are left out. Only
    examples to train on are in aspect buckets; those of validation are squares.

    Args:
        config: the run.
        part: "train" or "validation".
        examples: number of procedural examples, by default `data.examples`.
        seed: of the windows of clips, by default that of the run.

    Raises:
        MissingFile: there is no such dataset.
        UserError: the task cannot train on real clips, or no clip or fewer than a batch are left.
    """
    data = config.data
    if not data.has_clips:
        return config.task.shapes_source(data, part, examples or data.examples)
    seed = config.seed if seed is None else seed
    if data.buckets and part == "train":
        return _bucketed(config, seed)
    weighted = data.mixture or ((data.dataset, 1.0),)
    sources = tuple(
        config.task.clips_source(data, clip_windows(data, name, part, seed)) for name, _ in weighted
    )
    if part == "train":
        check_batch(config, [name for name, _ in weighted], sum(map(len, sources)))
    return Mixture(sources, tuple(weight for _, weight in weighted)) if data.mixture else sources[0]


def _bucketed(config: RunConfig, seed: int) -> Buckets:
    """Returns the examples of each bucket. Raises UserError if one has fewer than a batch."""
    data, sources = config.data, []
    for place, size in enumerate(data.buckets):
        clips = clip_windows(data, data.dataset, "train", seed, bucket=place)
        check_batch(config, [f"{data.dataset}, bucket {name_of(size)}"], len(clips))
        sources.append(config.task.clips_source(data, clips))
    return Buckets(tuple(sources))


def held_out_source(config: RunConfig, number: int, seed: int) -> Source | Mixture | Buckets:
    """Returns the run's held-out examples: those of `validation.dataset`, or of its own data.

    Args:
        config: the run.
        number: of procedural examples.
        seed: of the windows of clips.

    Raises the errors of `make_source`.
    """
    if not config.validation.dataset:
        return make_source(config, "validation", number, seed)
    clips = clip_windows(config.data, config.validation.dataset, "all", seed)
    return config.task.clips_source(config.data, clips)


def examples_of(config: RunConfig, part: Part, number: int) -> list[dict[str, Any]]:
    """Returns the first training or validation examples, as the task trains on them.

    Raises the errors of `make_source`.
    """
    if part == "validation":
        return first_examples(held_out_source(config, number, config.seed), number)
    return first_examples(make_source(config, part, number), number)


def first_examples(source: Source | Mixture | Buckets, number: int) -> list[dict[str, Any]]:
    """Returns the first examples of a source; see `example_in_turn`."""
    return [example_in_turn(source, place) for place in range(number)]


def example_in_turn(source: Source | Mixture | Buckets, place: int) -> dict[str, Any]:
    """Returns the example at a place in the source's order; the parts of several take turns.

    After the last example of a part, it starts again with the windows of the next epoch.
    """
    parts = source.sources if isinstance(source, Mixture | Buckets) else (source,)
    turn, which = divmod(place, len(parts))
    epoch, index = divmod(turn, len(parts[which]))
    return example_at(parts[which], index, epoch)


def clip_windows(
    data: DataConfig, name: str, part: Part, seed: int, bucket: int | None = None
) -> ClipWindows:
    """Returns the windows of a dataset's clips; prints the number of clips to train on.

    Args:
        data: the run's data.
        name: folder of the dataset.
        part: which of its clips.
        seed: of the windows.
        bucket: place of a bucket in `data.buckets`; None for squares of all clips.
    """
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
        buckets=() if bucket is None else data.buckets,
        bucket=bucket or 0,
    )
    if part == "train" and is_main():
        why = "too short, too slow or too small"
        if bucket is not None:
            name = f"{name}, bucket {name_of(data.buckets[bucket])}"
            why = f"in other buckets or {why}"
        left_out = f", {clips.excluded} {why}" if clips.excluded else ""
        _log.info("%s: %d clips to train on%s", name, len(clips), left_out)
    return clips


def check_batch(config: RunConfig, names: list[str], clips: int) -> None:
    """Raises UserError if there are fewer clips than a batch."""
    if clips < config.batch_size:
        raise UserError(
            f"{', '.join(names)}: {clips} clips to train on are fewer than a batch of "
            f"{config.batch_size} (batch_size); ingest more clips, or make the batch smaller"
        )
