"""Sampling in a thread, so that a page shows its progress and can end it."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from videogen_jax.app.settings import Settings
from videogen_jax.media.video import Video
from videogen_jax.pipeline.progress import Progress
from videogen_jax.pipeline.videogen import VideoGen


class Cancelled(Exception):
    """The visitor has ended the call."""


@dataclass(frozen=True)
class Update:
    """What is new since the last update.

    Attributes:
        status: one line, such as "stage 1: 5 of 30 steps".
        share: share of the part that is done, from 0 to 1; None while the next part begins.
        preview: the result of a part: the name, and the clip or a still of one frame.
        video: the finished video, with the last update.
    """

    status: str
    share: float | None
    preview: tuple[str, Video] | None = None
    video: Video | None = None


def sample(
    model: VideoGen,
    settings: Settings,
    reference: np.ndarray | None,
    cancelled: threading.Event,
) -> Iterator[Update]:
    """Samples a video in a thread and yields its progress.

    Args:
        model: the model.
        settings: the prompt and the options.
        reference: the uploaded image, uint8 `[H, W, 3]`, or None.
        cancelled: set by another thread to end the call after the current step.

    Raises:
        Cancelled: it was ended.
        UserError: as for a call of `VideoGen`, and for the page's limits.
    """
    request = settings.check(model.config)
    updates: queue.Queue[Update | BaseException] = queue.Queue()

    def report(progress: Progress) -> None:
        if cancelled.is_set():
            raise Cancelled
        preview = _preview(model, settings, request.fps, progress)
        if preview is None:
            status = f"{progress.part}: {progress.done} of {progress.total}"
            updates.put(Update(status, progress.done / max(progress.total, 1)))
        else:
            status = f"{progress.part}: done; the next part begins (the first time it compiles) …"
            updates.put(Update(status, None, preview))

    def work() -> None:
        try:
            video = model(
                settings.prompt,
                reference=reference,
                options=settings.options,
                progress=report,
            )
            updates.put(Update("done", 1.0, video=video))
        except BaseException as error:  # raised again in the caller's thread
            updates.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            update = updates.get()
            if isinstance(update, BaseException):
                raise update
            yield update
            if update.video is not None:
                return
    finally:  # also if the visitor has left
        cancelled.set()
        thread.join()


def _preview(
    model: VideoGen, settings: Settings, fps: float, progress: Progress
) -> tuple[str, Video] | None:
    """Returns the result of a part as a clip; None in the middle of a part."""
    if progress.result is None:
        return None
    if progress.part == "reference image":
        frames = np.asarray(progress.result)
    else:
        frames = model.decode(progress.result)[0]
    return progress.part, Video(frames, fps, settings.prompt)
