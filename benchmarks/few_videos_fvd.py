"""FVD of a few videos: `python -m benchmarks.few_videos_fvd METRICS OUT COUNT FOLDER...`

METRICS has the converted I3D (`python -m convert.metric_weights i3d`). Each FOLDER has videos of
the shapes by `python -m sample.evaluate`; they are compared with the first COUNT held-out clips,
and so are the COUNT held-out clips after these. COUNT may be smaller than the number of features,
which `fvd` refuses: the values are comparable with one another only. Statistics are kept in OUT, so
that the same command goes on where it stopped. Without a GPU a video takes a second or more.
"""

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

from videogen_jax.evaluation.runner.blocks import accumulate, collect
from videogen_jax.evaluation.runner.intervals import intervals
from videogen_jax.evaluation.runner.measures import METRICS, Measure, Setup
from videogen_jax.evaluation.runner.protocols import PROTOCOLS
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.evaluation.runner.scoring import read_batch
from videogen_jax.evaluation.runner.sources import FolderVideos, ShapesVideos, Videos

BATCH = 2
WINDOW = Window(16, resolution=64)


class Others:
    """The held-out clips after the first ones."""

    def __init__(self, count: int) -> None:
        self._count, self._clips = count, ShapesVideos(WINDOW, 2 * count)

    def __len__(self) -> int:
        return self._count

    def video(self, index: int):
        return self._clips.video(self._count + index)

    def caption(self, index: int) -> str:
        return self._clips.caption(self._count + index)

    def settings(self) -> dict[str, int]:
        return {"after": self._count}


def main(metrics: Path, out: Path, count: int, folders: list[Path]) -> None:
    measure = METRICS["fvd"].build(Setup(metrics, PROTOCOLS["shapes"], count, BATCH))
    measure = dataclasses.replace(measure, score=measure.resampled)
    real = statistics(measure, out / "real", ShapesVideos(WINDOW, count))
    sets: dict[str, Videos] = {"others": Others(count)}
    sets |= {str(folder.parent.name): FolderVideos(folder, WINDOW, count) for folder in folders}
    found = {}
    for name, videos in sets.items():
        generated = statistics(measure, out / name, videos)
        value, low, high = intervals(measure, generated, real, 50)["fvd"]
        found[name] = value, low, high
        print(f"| {name} | {value:.1f} ± {(high - low) / 2:.1f} |", flush=True)
    (out / "results.json").write_text(json.dumps(found, indent=1))


def statistics(measure: Measure, folder: Path, videos: Videos):
    read = partial(read_batch, videos, None, False)
    settings = videos.settings()
    accumulate(folder, settings, len(videos), read, lambda: measure, BATCH, save_seconds=0)
    return collect(folder, len(videos), measure)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), [Path(x) for x in sys.argv[4:]])
