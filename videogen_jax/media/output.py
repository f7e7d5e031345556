"""Whether a video can be written where it is to go, asked before it is made."""

import tempfile
from pathlib import Path

from videogen_jax.errors import UserError

FORMATS = (".mp4", ".gif", ".webp", "")  # of `Video.save`; no suffix is a folder of PNG frames


def check_output(path: Path) -> None:
    """Raises UserError if a video or picture is sure not to be written at `path`; names why.

    The folder it goes to is made if there is none.
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
    """Raises UserError if `Video.save` knows no such suffix."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; "
            "known are .mp4, .gif, .webp, and none for a folder of PNG frames"
        )
