"""Memory of scoring 100 and 2,000 videos: `python -m benchmarks.evaluation_memory`

The videos are PNG frames of noise, 9 frames of 16 pixels, and a random projection to 400 features
stands for I3D, which needs the same memory for any number of videos. Everything else is that of an
evaluation: reading, statistics in blocks, FVD with its interval. It prints the largest memory that
the process has had so far (resident set), after each number of videos.
"""

import resource
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from videogen_jax.evaluation.frechet import frechet_distance_of
from videogen_jax.evaluation.runner.blocks import accumulate, collect
from videogen_jax.evaluation.runner.intervals import intervals
from videogen_jax.evaluation.runner.measures import Batch, Measure
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.evaluation.runner.scoring import read_batch
from videogen_jax.evaluation.runner.sources import FolderVideos
from videogen_jax.evaluation.statistics import Moments
from videogen_jax.media.video import Video

FRAMES, SIZE, FEATURES = 9, 16, 400
PROJECTION = np.random.default_rng(0).normal(size=(FRAMES * SIZE * SIZE * 3, FEATURES))


def add(moments: Moments, batch: Batch) -> Moments:
    return moments.update(batch.videos.reshape(len(batch.videos), -1) / 255 @ PROJECTION)


def score(generated: Moments, real: Moments) -> dict[str, float]:
    return {"fvd": frechet_distance_of(real, generated)}


MEASURE = Measure(lambda: Moments.empty(FEATURES), add, score, score)


def main() -> None:
    print("| videos | memory, MiB |\n|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(1)
        for number in range(2000):
            frames = rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)
            Video(frames, 8.0).save(folder / "videos" / f"{number:06d}")
        print(f"| before | {peak_mib():.0f} |", flush=True)
        for count in (100, 2000):
            run(folder, count)
            print(f"| {count} | {peak_mib():.0f} |", flush=True)


def run(folder: Path, count: int) -> None:
    videos = FolderVideos(folder / "videos", Window(FRAMES), count)
    read = partial(read_batch, videos, None, False)
    statistics = folder / str(count)
    accumulate(statistics, {}, count, read, lambda: MEASURE, batch_size=8)
    blocks = collect(statistics, count, MEASURE)
    intervals(MEASURE, blocks[:16], blocks[16:], 3)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
