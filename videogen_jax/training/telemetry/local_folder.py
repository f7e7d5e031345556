"""The files that a run appends to, on this machine, with copies in the bucket of the run."""

import logging
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from videogen_jax.errors import UserError
from videogen_jax.paths import is_remote, upload

_log = logging.getLogger(__name__)

UPLOAD_SECONDS = 60.0


class Folder(Protocol):
    """A folder to write to; `path` is where."""

    path: Path

    def upload_if_due(self) -> None:
        """Uploads what has changed if the last upload is long ago."""
        ...

    def close(self) -> None:
        """Uploads what has changed."""
        ...


def writable_folder(folder: Path, continued: Sequence[str] = ()) -> Folder:
    """Returns a folder to write to: the folder itself, or for one in a bucket a temporary one.

    Args:
        folder: the folder.
        continued: names of files that are continued if they exist.
    """
    return UploadedFolder(folder, continued) if is_remote(folder) else OwnFolder(folder)


class OwnFolder:
    """A folder of this machine, of which nothing is uploaded."""

    def __init__(self, folder: Path):
        self.path = folder

    def upload_if_due(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class UploadedFolder:
    """A temporary folder whose files are uploaded to a bucket when they have changed.

    `upload_if_due` uploads at most every `UPLOAD_SECONDS`, in a thread; a failure is a warning, and
    the next upload repeats it. A process that is killed loses what it has written since then.
    """

    def __init__(self, remote: Path, continued: Sequence[str] = ()):
        self._remote = remote
        self._temporary = tempfile.TemporaryDirectory(prefix="videogen-run-")
        self.path = Path(self._temporary.name)
        for name in continued:
            if (remote / name).is_file():
                (self.path / name).write_bytes((remote / name).read_bytes())
        self._uploaded: dict[Path, tuple[int, int]] = {}  # size and time of each file
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self._last = time.monotonic()

    def upload_if_due(self) -> None:
        """Starts an upload if the last one is long ago and has ended."""
        if time.monotonic() - self._last < UPLOAD_SECONDS:
            return
        if self._running is None or self._running.done():
            self._last = time.monotonic()
            self._running = self._pool.submit(self._upload_or_warn)

    def close(self) -> None:
        """Uploads what has changed, and deletes the temporary folder.

        Raises:
            UserError: the bucket cannot be written.
        """
        self._pool.shutdown()
        self._upload()
        self._temporary.cleanup()

    def _upload_or_warn(self) -> None:
        try:
            self._upload()
        except UserError as error:
            _log.warning("metrics and samples are not uploaded, the next time again: %s", error)

    def _upload(self) -> None:
        for path in sorted(self.path.rglob("*")):
            if not path.is_file() or path.name.startswith("."):
                continue
            status = path.stat()
            state = (status.st_size, status.st_mtime_ns)
            if self._uploaded.get(path) != state:
                upload(path, self._remote / path.relative_to(self.path).as_posix())
                self._uploaded[path] = state
