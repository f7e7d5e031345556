"""What the page's buttons do. Handlers yield the values of the components that they change."""

import html
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.app.results import Results
from videogen_jax.app.sampling import Cancelled, sample
from videogen_jax.app.settings import MAX_FRAMES, Settings
from videogen_jax.errors import UserError, user_message
from videogen_jax.media.image_files import ImageLimits, load_image
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.requests.video import MAX_SEED
from videogen_jax.pipeline.videogen import VideoGen

GALLERY = 12  # results that a visitor sees
MAX_PIXELS = 40_000_000  # of an uploaded image


def dice() -> int:
    """Returns a random seed."""
    return secrets.randbelow(MAX_SEED + 1)


def bar(share: float | None) -> str:
    """Returns a progress bar as HTML; None: one that moves without a value."""
    value = "" if share is None else f' value="{round(100 * share)}" max="100"'
    return f'<progress{value} style="width:100%"></progress>'


class Handlers:
    """The work of one page.

    Args:
        model: the model.
        name: how the shown lines name it, such as "shapes".
        results: where files are written.
    """

    def __init__(self, model: VideoGen, name: str, results: Results):
        self._model, self._name, self._results = model, name, results
        self._running: dict[str, threading.Event] = {}

    def cancel(self, session: str) -> str:
        """Ends the visitor's call after its current step; returns the status."""
        if session in self._running:
            self._running[session].set()
            return "cancelling …"
        return "nothing is running"

    def generate(
        self, session: str, settings: Settings, reference: str | None, gallery: list[Any]
    ) -> Iterator[dict[str, Any]]:
        """Samples a video; yields new values by the names of the page's components.

        Args:
            session: the visitor, whose `cancel` ends the call.
            settings: the prompt and the options.
            reference: file of an uploaded image.
            gallery: the visitor's last results, (file, caption) each.
        """
        previews: list[tuple[str, str]] = []
        yield {"status": "starting; the first video compiles …", "bar": bar(0), "previews": []}
        try:
            for update in self._sample(session, settings, reference):
                values: dict[str, Any] = {"status": update.status, "bar": bar(update.share)}
                if update.preview is not None:
                    part, clip = update.preview
                    previews = [*previews, (self._results.preview(clip), part)]
                    values["previews"] = previews
                if update.video is not None:
                    files = self._results.save(update.video)
                    newest = [(files[-1], html.escape(settings.prompt)), *gallery][:GALLERY]
                    values |= {"video": files[0], "files": files, "gallery": newest}
                    values |= {
                        "command": settings.command_line(self._name),
                        "python": settings.python(self._name),
                        "status": f"done: {update.video!r}",
                    }
                yield values
        except Exception as error:
            yield {"status": self._message(error), "bar": bar(0)}

    def compare(self, session: str, both: tuple[Settings, Settings]) -> Iterator[dict[str, Any]]:
        """Samples two videos, one after the other; yields new values by component."""
        for side, settings in zip("ab", both, strict=True):
            try:
                for update in self._sample(session, settings, None):
                    values: dict[str, Any] = {"status": f"{side.upper()}, {update.status}"}
                    values["bar"] = bar(update.share)
                    if update.video is not None:
                        values[f"video_{side}"] = self._results.save(update.video)[0]
                        values[f"command_{side}"] = settings.command_line(self._name)
                    yield values
            except Exception as error:
                yield {"status": f"{side.upper()}: {self._message(error)}", "bar": bar(0)}
                return

    def interpolate(self, video: str | None, times: Any, seed: Any) -> dict[str, Any]:
        """Adds frames to an uploaded video; returns new values by component."""
        try:
            if not video:
                raise UserError("no video was uploaded")
            source = FrameStream.of(video)
            result = self._model.interpolate.stream(source, times=times, seed=seed, progress=False)
            if result.num_frames > MAX_FRAMES:
                raise UserError(
                    f"the result would have {result.num_frames} frames, expected at most "
                    f"{MAX_FRAMES} on this page"
                )
            path = result.save(self._results.new() / "interpolated.mp4")
            return {"video": str(path), "status": f"{source!r} → {result!r}"}
        except Exception as error:
            return {"video": None, "status": self._message(error, Path(video or ""))}

    def _sample(self, session: str, settings: Settings, reference: str | None) -> Any:
        cancelled = self._running[session] = threading.Event()
        try:
            picture = None if reference is None else load_upload(reference)
            yield from sample(self._model, settings, picture, cancelled)
        finally:
            self._running.pop(session, None)

    def _message(self, error: Exception, path: Path | None = None) -> str:
        """Returns what the page says of an error that a visitor can cause; raises any other.

        The path of an uploaded file is not shown, only its name.
        """
        if isinstance(error, Cancelled):
            return "cancelled"
        message = user_message(error)
        if message is None:
            raise error
        if path is not None and path.name:
            message = message.replace(str(path), path.name)
        return f"error: {message}"


def load_upload(path: str) -> np.ndarray:
    """Loads an uploaded image, uint8 `[H, W, 3]`.

    Raises:
        UserError: the file is not an image or too large; its path is not in the message.
    """
    try:
        return load_image(path, limits=ImageLimits(MAX_PIXELS))
    except UserError as error:
        raise UserError(str(error).replace(path, "the uploaded file")) from error
