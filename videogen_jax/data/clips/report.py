"""Reports about a dataset of real clips: text, histograms and a sheet of samples.

Shape letters: F frames, H height, W width; a trailing 3 are RGB channels, uint8.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.data.clips.records import ClipDataset, DamagedRecord
from videogen_jax.data.clips.video import decode_window
from videogen_jax.errors import UserError
from videogen_jax.media.contact_sheet import contact_sheet, stack_sheets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRAMES_IN_ROW = 6
_CELL_HEIGHT = 96
_CAPTION_LETTERS = 200
_BARS = 12  # largest number of names shown; the others are summed up


@dataclass(frozen=True)
class Statistics:
    """Statistics of some or all clips of a dataset, one value per clip.

    Attributes:
        total: clips in the dataset.
        seconds, fps: length and frame rate of each clip.
        sizes: "WIDTHxHEIGHT" of each clip.
        words: words in each caption.
    """

    total: int
    seconds: tuple[float, ...]
    fps: tuple[float, ...]
    sizes: tuple[str, ...]
    words: tuple[int, ...]


def summary(info: dict[str, Any]) -> str:
    """Summarises a dataset in a few lines, from its `dataset_info.json`."""
    rejected = info["rejected"]
    lines = [
        f"{info['num_clips']} clips, {info['num_frames']} frames, {info['seconds']:.1f} s, "
        f"{info['num_captions']} captions, {len(info['shard_clips'])} shards",
        f"fps: {_counts(info['fps'])}",
        f"sizes: {_counts(info['sizes'])}",
        f"rejected: {_counts(rejected) if rejected else 'none'}",
    ]
    return "\n".join(lines)


def statistics(dataset: ClipDataset, limit: int, seed: int) -> Statistics:
    """Collects statistics of all clips, or of `limit` clips drawn at random.

    Raises:
        UserError: `limit` is below 1, or `seed` below 0.
        DamagedRecord: a record cannot be read.
    """
    if limit < 1:
        raise UserError(f"limit must be >= 1, got {limit}")
    seconds, fps, sizes, words = [], [], [], []
    for index in _drawn(len(dataset), limit, seed):
        record = dataset[index]
        seconds.append(record.num_frames / record.fps)
        fps.append(record.fps)
        sizes.append(f"{record.w}x{record.h}")
        words += [len(text.split()) for text in record.captions]
    return Statistics(len(dataset), tuple(seconds), tuple(fps), tuple(sizes), tuple(words))


def plot_statistics(numbers: Statistics, path: Path) -> Path:
    """Draws the histograms as a PNG file; returns its path.

    Raises:
        UserError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    length, rate, size, words = figure.subplots(2, 2).flat
    _histogram(length, numbers.seconds, "length in seconds", "clips")
    _bars(rate, [f"{fps:.5g}" for fps in numbers.fps], "frames per second")
    _bars(size, numbers.sizes, "width x height in pixels")
    _histogram(words, numbers.words, "words in a caption", "captions")
    shown = len(numbers.seconds)
    figure.suptitle(
        f"{shown} of {numbers.total} clips" if shown < numbers.total else f"{shown} clips"
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def save_sample_sheet(directory: Path, path: Path, samples: int = 8, seed: int = 0) -> Path:
    """Writes frames of clips drawn at random, with id and caption, to a PNG file; returns its path.

    Raises:
        UserError: `samples` is below 1, `seed` below 0, or the dataset or a clip cannot be read.
    """
    if samples < 1:
        raise UserError(f"samples must be >= 1, got {samples}")
    dataset, sheets = ClipDataset(directory), []
    for index in _drawn(len(dataset), samples, seed):
        record = dataset[index]
        count = min(_FRAMES_IN_ROW, record.num_frames)
        stride = max(1, (record.num_frames - 1) // max(1, count - 1))
        try:
            frames_FHW3 = decode_window(record.video, 0, count, stride)
        except DamagedRecord as error:
            raise DamagedRecord(f"{dataset.locate(index)}: {error}") from error
        text = " | ".join(record.captions)[:_CAPTION_LETTERS] or "(no caption)"
        facts = f"{record.w}x{record.h}, {record.num_frames} frames at {record.fps:.5g} fps"
        caption = f"{record.id} ({facts}): {text}"
        sheets.append(contact_sheet(_shrunk(frames_FHW3), scale=1, caption=caption))
    with replacing(path) as temporary:
        stack_sheets(sheets).save(temporary, format="PNG")
    return path


def _drawn(size: int, count: int, seed: int) -> list[int]:
    """Returns `count` numbers of 0..size-1 drawn at random, in order, or all."""
    if count >= size:
        return list(range(size))
    if seed < 0:
        raise UserError(f"seed must be >= 0, got {seed}")
    return sorted(np.random.default_rng(seed).choice(size, count, replace=False).tolist())


def _shrunk(frames_FHW3: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = frames_FHW3.shape[1:3]
    size = (max(1, round(width * _CELL_HEIGHT / height)), _CELL_HEIGHT)
    resized = [Image.fromarray(f).resize(size, Image.Resampling.LANCZOS) for f in frames_FHW3]
    return np.stack([np.asarray(image) for image in resized])


def _counts(counts: dict[str, int]) -> str:
    """Returns `name (count)`, the most frequent first."""
    common = Counter(counts).most_common()
    texts = [f"{name} ({count})" for name, count in common[:_BARS]]
    return ", ".join(texts + [f"{len(common) - _BARS} more"] * (len(common) > _BARS))


def _histogram(axes: "Axes", values: tuple[float, ...], label: str, of: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if values:
        axes.hist(values, bins=min(30, max(5, len(set(values)))), edgecolor="white")
    else:
        axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=label, ylabel=of)


def _bars(axes: "Axes", names: Sequence[str], label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    common = Counter(names).most_common()
    shown = common[:_BARS]
    if len(common) > _BARS:
        shown.append(("other", sum(count for _, count in common[_BARS:])))
    axes.barh([name for name, _ in shown][::-1], [count for _, count in shown][::-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="clips", ylabel=label)
