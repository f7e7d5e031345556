"""Writing a run's metrics and samples: `metrics.jsonl`, TensorBoard events, `samples/`."""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from PIL import Image

from videogen_jax.atomic import replacing
from videogen_jax.media.video import Video
from videogen_jax.media.writers import encode_gif
from videogen_jax.training.task import Samples

_log = logging.getLogger(__name__)

_CLIPS_IN_A_ROW = 4
_MAX_GIF_FPS = 50.0


class MetricsWriter:
    """The writer of a run's scalars and pictures; a context manager that flushes at the end.

    If tensorboardX is not installed, or its file cannot be written, a warning says so and no
    TensorBoard events are written from then on.

    Raises OSError if `metrics.jsonl` or samples cannot be written.
    """

    def __init__(self, run_dir: Path):
        self._samples = run_dir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._file = (run_dir / "metrics.jsonl").open("a", buffering=1)
        self._events = _Events(run_dir / "tensorboard")

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line `{"step": …, name: value, …}` and the same to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._events.scalars(values, step)

    def samples(self, step: int, samples: Samples) -> None:
        """Writes rows of pictures as `samples/step_00001000.png`, and clips also as `.mp4`.

        The `.mp4` has the clips side by side. TensorBoard receives the picture as `samples` and the
        animated clips as `videos`.
        """
        path = self._samples / f"step_{step:08d}.png"
        sheet_HWC = rearrange(samples.rows_RFHWC, "r f h w c -> (r h) (f w) c")
        with replacing(path) as temporary:
            Image.fromarray(sheet_HWC).save(temporary, format="PNG")
        self._events.image("samples", sheet_HWC, step)
        if samples.fps is not None:
            frames = [_tiled(frame, _CLIPS_IN_A_ROW) for frame in samples.rows_RFHWC.swapaxes(0, 1)]
            video = Video(np.stack(frames), samples.fps)
            video.save(path.with_suffix(".mp4"))
            self._events.animation("videos", video, step)


class _Events:
    """A file of TensorBoard events, written at once.

    tensorboardX's own `SummaryWriter` writes in a thread. If that fails, as on a full disk, the
    thread ends, and a later call waits for it forever.
    """

    def __init__(self, folder: Path):
        self._file: Any = None
        self._try(lambda: self._open(folder))

    def _open(self, folder: Path) -> None:
        try:
            from tensorboardX.record_writer import RecordWriter
        except ModuleNotFoundError:
            _log.warning(
                "tensorboardX is not installed: no TensorBoard events, metrics.jsonl has the "
                "numbers"
            )
            return
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._file = RecordWriter(str(folder / name))
        self._add(file_version="brain.Event:2")

    def _add(self, **fields: Any) -> None:
        from tensorboardX.proto.event_pb2 import (
            Event,  # pyright: ignore[reportAttributeAccessIssue]
        )

        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()

    def _try(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except OSError as error:
            _log.warning(
                "no TensorBoard events from here on, metrics.jsonl has the numbers: %s", error
            )
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError):  # it writes what is left, and fails again
                    file.close()

    def scalars(self, values: dict[str, float], step: int) -> None:
        if self._file is None:
            return
        from tensorboardX.proto.summary_pb2 import (
            Summary,  # pyright: ignore[reportAttributeAccessIssue]
        )

        numbers = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._try(lambda: self._add(step=step, summary=Summary(value=numbers)))

    def image(self, tag: str, picture_HWC: np.ndarray, step: int) -> None:
        if self._file is not None:
            from tensorboardX.summary import image

            picture = image(tag, picture_HWC, dataformats="HWC")
            self._try(lambda: self._add(step=step, summary=picture))

    def animation(self, tag: str, video: Video, step: int) -> None:
        """Adds an animated GIF, like `add_video` of tensorboardX, which would need moviepy."""
        if self._file is None:
            return
        from tensorboardX.proto.summary_pb2 import (
            Summary,  # pyright: ignore[reportAttributeAccessIssue]
        )

        height, width, colours = video.frames.shape[1:]
        gif = encode_gif(video.frames, min(video.fps, _MAX_GIF_FPS))
        picture = Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=gif
        )
        value = Summary.Value(tag=tag, image=picture)
        self._try(lambda: self._add(step=step, summary=Summary(value=[value])))

    def close(self) -> None:
        if self._file is not None:
            self._try(self._file.close)


def _tiled(pictures_NHWC: np.ndarray, columns: int) -> np.ndarray:
    """Arranges pictures in rows, as one picture; it is black where the last row is not full."""
    missing = -len(pictures_NHWC) % columns
    padded = np.pad(pictures_NHWC, ((0, missing), (0, 0), (0, 0), (0, 0)))
    return rearrange(padded, "(r c) h w rgb -> (r h) (c w) rgb", c=columns)


class NoMetrics:
    """A `MetricsWriter` that writes nothing, for all processes but the main one."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Does nothing."""

    def samples(self, step: int, samples: Samples) -> None:
        """Does nothing."""
