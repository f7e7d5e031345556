"""Shows what is in a dataset: `videogen inspect DATASET`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax.cli import command
from videogen_jax.data.clips.report import plot_statistics, save_sample_sheet, statistics, summary


def main(
    dataset: tyro.conf.Positional[Path],
    /,
    out: Path | None = None,
    samples: int = 8,
    limit: int = 10_000,
    seed: int = 0,
) -> None:
    """Prints counts, and draws a sheet of samples and histograms.

    The histograms are of lengths, frame rates, sizes and captions.

    Args:
        dataset: folder written by `ingest`.
        out: folder for statistics.png and samples.png; by default the dataset's own.
        samples: number of clips on the sheet.
        limit: largest number of clips in the histograms, drawn at random.
        seed: seed of the random choice of clips.
    """
    from videogen_jax.data.clips.records import ClipDataset

    clips = ClipDataset(dataset)
    print(summary(clips.info))
    numbers = statistics(clips, limit, seed)
    print(plot_statistics(numbers, (out or dataset) / "statistics.png"))
    print(save_sample_sheet(dataset, (out or dataset) / "samples.png", samples, seed))


call = partial(command, main)
