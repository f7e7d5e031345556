"""The files of the page's results: each in a folder of its own, the oldest are removed."""

import shutil
import uuid
from pathlib import Path

from videogen_jax.media.video import Video

KEPT = 40  # results of all visitors together
FORMATS = ("mp4", "gif", "webp")


class Results:
    """Writes results below a folder that only the page writes to."""

    def __init__(self, folder: Path):
        self._folder, self._written = folder, list[Path]()

    def new(self) -> Path:
        """Returns a new folder; removes the oldest ones."""
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        self._written.append(folder)
        while len(self._written) > KEPT:
            shutil.rmtree(self._written.pop(0), ignore_errors=True)
        return folder

    def save(self, video: Video) -> list[str]:
        """Writes a video in each of `FORMATS`; returns the paths in that order."""
        folder = self.new()
        return [str(video.save(folder / f"video.{suffix}")) for suffix in FORMATS]

    def preview(self, clip: Video) -> str:
        """Writes a clip, or a still of one frame, as an animated picture; returns its path."""
        return str(clip.save(self.new() / "preview.webp", lossless=True))
