"""FVD of distorted real clips: `python -m benchmarks.fvd_distortions MODEL_DIR OUT CLIP...`

MODEL_DIR has the converted I3D (`python -m convert.metric_weights i3d`). The windows of all CLIPs
are cropped to squares of 256 pixels. Every second one is in the reference, which the distortions
change; the others are another real set. OUT is a new folder for `results.json` and `fvd.png`.
Without a GPU this takes a second or more for each window and set.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from videogen_jax.evaluation.features import Extractor, i3d_features
from videogen_jax.evaluation.frechet import frechet_distance_of
from videogen_jax.evaluation.statistics import Moments
from videogen_jax.models.features.loading import load_i3d

FRAMES, SIZE = 16, 256
MOST = 20  # windows of a file
BATCH = 2


def main(model_dir: Path, out: Path, files: list[Path]) -> None:
    out.mkdir(parents=True)
    extractor = i3d_features(*load_i3d(model_dir))
    windows = np.stack([window for file in files for window in windows_of(file)])
    reference, other = windows[::2], windows[1::2]
    print(f"{len(reference)} windows in each set", flush=True)
    base = moments(extractor, reference)
    rows = [("the same clips", 0.0, base), ("other clips", 0.0, moments(extractor, other))]
    for name, levels, distort in DISTORTIONS:
        for level in levels:
            changed = np.stack([distort(w, level, seed) for seed, w in enumerate(reference)])
            rows.append((name, level, moments(extractor, changed)))
            print(name, level, frechet_distance_of(base, rows[-1][2]), flush=True)
    found = [(name, level, frechet_distance_of(base, m)) for name, level, m in rows]
    (out / "results.json").write_text(json.dumps(found, indent=1))
    draw(found, out / "fvd.png")


def windows_of(file: Path) -> Iterator[np.ndarray]:
    """Yields windows of a file that do not overlap, at most `MOST`, uint8 [F, H, W, 3]."""
    with av.open(str(file)) as container:
        frames = [square(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    last = len(frames) // FRAMES - 1
    for number in np.linspace(0, last, min(last + 1, MOST)).round().astype(int):
        yield np.stack(frames[number * FRAMES : (number + 1) * FRAMES])


def square(image: np.ndarray) -> np.ndarray:
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    cropped = image[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC
    return cv2.resize(cropped, (SIZE, SIZE), interpolation=how)


def moments(extractor: Extractor, videos: np.ndarray) -> Moments:
    found = Moments.empty(extractor.num_features)
    for start in range(0, len(videos), BATCH):
        found = found.update(extractor(videos[start : start + BATCH]))
    return found


def noise(video: np.ndarray, level: float, seed: int) -> np.ndarray:
    added = np.random.default_rng(seed).normal(0, level, video.shape)
    return np.clip(video + added, 0, 255).round().astype(np.uint8)


def blur(video: np.ndarray, level: float, seed: int) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), level) for frame in video])


def dropped(video: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Shows every `level`-th frame in place of those after it."""
    return video[np.arange(len(video)) // int(level) * int(level)]


def shuffled(video: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Orders each run of `level` frames randomly."""
    runs = np.arange(len(video)).reshape(-1, int(level))
    return video[np.random.default_rng(seed).permuted(runs, axis=1).ravel()]


DISTORTIONS: tuple[tuple[str, tuple[float, ...], Callable], ...] = (
    ("noise, deviation in levels of 255", (10, 40), noise),
    ("blur, deviation in pixels", (1, 4), blur),
    ("dropped frames, one of n kept", (2, 8), dropped),
    ("shuffled frames, in runs of n", (4, 16), shuffled),
)


def draw(found: list[tuple[str, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    names = list(dict.fromkeys(name for name, *_ in found))
    for name in names:
        rows = [(level, value) for other, level, value in found if other == name]
        labels = [f"{name} {level:g}" if level else name for level, _ in rows]
        axes.barh(labels, [value for _, value in rows])
    axes.invert_yaxis()
    axes.set_xlabel("FVD to the undistorted clips")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])
