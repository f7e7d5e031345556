"""Writing a run's metrics and samples: `metrics.jsonl`, TensorBoard events, `samples/`."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from PIL import Image

from videogen_jax.atomic import replacing
from videogen_jax.media.video import Video, encode_gif
from videogen_jax.training.task import Samples

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_log = logging.getLogger(__name__)

_CLIPS_IN_A_ROW = 4
_MAX_GIF_FPS = 50.0


class MetricsWriter:
    """The writer of a run's scalars and pictures; a context manager that flushes at the end.

    If tensorboardX is not installed, it prints that and writes no TensorBoard events.
    """

    def __init__(self, run_dir: Path):
        self._samples = run_dir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._file = (run_dir / "metrics.jsonl").open("a", buffering=1)
        self._events = _event_writer(run_dir / "tensorboard")

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line `{"step": …, name: value, …}` and the same to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def samples(self, step: int, samples: Samples) -> None:
        """Writes rows of pictures as `samples/step_00001000.png`, and clips also as `.mp4`.

        The `.mp4` has the clips side by side. TensorBoard receives the picture as `samples` and the
        animated clips as `videos`.
        """
        path = self._samples / f"step_{step:08d}.png"
        sheet_HWC = rearrange(samples.rows_RFHWC, "r f h w c -> (r h) (f w) c")
        with replacing(path) as temporary:
            Image.fromarray(sheet_HWC).save(temporary, format="PNG")
        if self._events is not None:
            self._events.add_image("samples", sheet_HWC, step, dataformats="HWC")
        if samples.fps is not None:
            frames = [_tiled(frame, _CLIPS_IN_A_ROW) for frame in samples.rows_RFHWC.swapaxes(0, 1)]
            video = Video(np.stack(frames), samples.fps)
            video.save(path.with_suffix(".mp4"))
            if self._events is not None:
                _add_animation(self._events, "videos", video, step)


def _event_writer(folder: Path) -> "SummaryWriter | None":
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        _log.warning(
            "tensorboardX is not installed: no TensorBoard events, metrics.jsonl has the numbers"
        )
        return None
    return SummaryWriter(str(folder))


def _tiled(pictures_NHWC: np.ndarray, columns: int) -> np.ndarray:
    """Arranges pictures in rows, as one picture; it is black where the last row is not full."""
    missing = -len(pictures_NHWC) % columns
    padded = np.pad(pictures_NHWC, ((0, missing), (0, 0), (0, 0), (0, 0)))
    return rearrange(padded, "(r c) h w rgb -> (r h) (c w) rgb", c=columns)


def _add_animation(events: "SummaryWriter", tag: str, video: Video, step: int) -> None:
    """Adds an animated GIF, like `add_video`, which would need moviepy."""
    from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    height, width, colours = video.frames.shape[1:]
    gif = encode_gif(video.frames, min(video.fps, _MAX_GIF_FPS))
    image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=gif)
    assert events.file_writer is not None  # it is there until the writer is closed
    events.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


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
