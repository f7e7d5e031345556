"""A run's TensorBoard events: scalars in groups, pictures, animations, texts, hyperparameters."""

import contextlib
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.media.video import Video
from videogen_jax.media.writers import encode_gif

_log = logging.getLogger(__name__)

_MAX_GIF_FPS = 50.0
# Groups of scalars by what their names in metrics.jsonl begin or end with; the others: train.
_GROUPS = {
    "time": "goodput|time_.*",
    "speed": ".*_per_second.*|mfu|.*flops.*",
    "memory": ".*memory.*",
}


def tag_of(name: str) -> str:
    """Returns the tag of a metric, such as `speed/steps_per_second`; a name with `/` is its own."""
    if "/" in name:
        return name
    found = (group for group, names in _GROUPS.items() if re.fullmatch(names, name))
    return f"{next(found, 'train')}/{name}"


def _leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the numbers, texts and switches of a configuration, except the model's."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if path or name != "model":
                yield from _leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(config, bool | int | float | str):
        yield path, config


class Events:
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

    def describe(self, config: Mapping[str, Any], step: int) -> None:
        """Adds a run's configuration: as text `config`, and its fields as hyperparameters."""
        if self._file is None:
            return
        from tensorboardX.summary import hparams

        text = json.dumps(config, indent=2, ensure_ascii=False)
        self.text("config", "".join(f"    {line}\n" for line in text.splitlines()), step)
        for summary in hparams(dict(_leaves(config)), {"train/loss": 0.0}):
            self._try(lambda: self._add(step=step, summary=summary))

    def text(self, tag: str, text: str, step: int) -> None:
        """Adds a text in Markdown."""
        if self._file is not None:
            from tensorboardX.summary import text as text_summary

            summary = text_summary(tag, text)
            self._try(lambda: self._add(step=step, summary=summary))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds numbers; `tag_of` gives their groups."""
        if self._file is None:
            return
        from tensorboardX.proto.summary_pb2 import (
            Summary,  # pyright: ignore[reportAttributeAccessIssue]
        )

        numbers = [
            Summary.Value(tag=tag_of(name), simple_value=value) for name, value in values.items()
        ]
        self._try(lambda: self._add(step=step, summary=Summary(value=numbers)))

    def image(self, tag: str, picture_HWC: np.ndarray, step: int) -> None:
        """Adds a picture, uint8."""
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
        """Closes the file."""
        if self._file is not None:
            self._try(self._file.close)
