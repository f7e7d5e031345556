"""Writing a run's metrics and samples: `metrics.jsonl`, TensorBoard events, `samples/`."""

import json
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image

from videogen_jax.atomic import replacing
from videogen_jax.media.video import Video
from videogen_jax.training.task import Samples
from videogen_jax.training.telemetry.events import Events
from videogen_jax.training.telemetry.local_folder import writable_folder

_CLIPS_IN_A_ROW = 4


class MetricsWriter:
    """The writer of a run's scalars and pictures; a context manager that flushes at the end.

    The files of a run in a bucket are written on this machine and uploaded from time to time
    (`UploadedFolder`), because nothing can be appended to an object.

    TensorBoard also receives the run's `config.json`, as text and as hyperparameters, with the
    first scalars. If tensorboardX is not installed, or its file cannot be written, a warning says
    so and no TensorBoard events are written from then on.

    Raises OSError if `metrics.jsonl` or samples cannot be written.
    """

    def __init__(self, run_dir: Path):
        self._folder = writable_folder(run_dir, ["metrics.jsonl"])
        local = self._folder.path
        self._samples = local / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._file = (local / "metrics.jsonl").open("a", buffering=1)
        self._events = Events(local / "tensorboard")
        self._config = run_dir / "config.json"
        self._described = False

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()
        self._folder.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line `{"step": …, name: value, …}` and the same to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        if not self._described and self._config.is_file():  # a run has it after its first step
            self._events.describe(json.loads(self._config.read_text(encoding="utf-8")), step)
            self._described = True
        self._events.scalars(values, step)
        self._folder.upload_if_due()

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
        if samples.captions:
            lines = [f"{number}. {text}" for number, text in enumerate(samples.captions, start=1)]
            self._events.text("samples/captions", "\n".join(lines), step)
        if samples.fps is not None:
            frames = [_tiled(frame, _CLIPS_IN_A_ROW) for frame in samples.rows_RFHWC.swapaxes(0, 1)]
            video = Video(np.stack(frames), samples.fps)
            video.save(path.with_suffix(".mp4"))
            self._events.animation("videos", video, step)


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
