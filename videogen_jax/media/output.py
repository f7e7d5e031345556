"""Checks of output paths, before a video is generated."""

import tempfile
from pathlib import Path

from videogen_jax.errors import UserError

FORMATS = (".mp4", ".gif", ".webp", "")  # of `Video.save`; no suffix is a folder of PNG frames


def check_output(path: Path) -> None:
    """Raises UserError, with the reason, if no video or picture can be written at `path`.

    Creates the parent folder if it is missing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    if path.exists() and path.is_dir() != (path.suffix == ""):
        kind = "a folder" if path.is_dir() else "a file"
        raise UserError(f"cannot write {path}: there is {kind} of that name")


def check_format(path: Path) -> None:
    """Raises UserError if `Video.save` does not support the suffix."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; "
            "known are .mp4, .gif, .webp, and none for a folder of PNG frames"
        )
