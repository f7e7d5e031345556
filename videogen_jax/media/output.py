"""Output paths: checks before sampling, names of contact sheets, and fallback files."""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from videogen_jax.atomic import replacing, temporary_sibling
from videogen_jax.errors import UserError, user_message
from videogen_jax.home import home

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (".mp4", ".gif", ".webp", "")  # of `Video.save`; no suffix is a folder of PNG frames
# Browsers show frames of animated images for 100 ms if their duration is below this.
SHORTEST_FRAME_MS = {".gif": 20, ".webp": 11}
FRAME_NAME = "frame_{:04d}.png"  # of a folder of PNG frames
_FRAME = re.compile(r"frame_[0-9]{4,}\.png")

_SHEET_OF = "videogen-jax contact sheet of"  # the PNG text with the name of the sheet's video
_log = logging.getLogger(__name__)


def check_format(path: Path, fps: float | None = None) -> None:
    """Raises UserError if `Video.save` does not support the suffix, or `fps` in that format."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; "
            "known are .mp4, .gif, .webp, and none for a folder of PNG frames"
        )
    shortest = SHORTEST_FRAME_MS.get(suffix)
    if shortest is not None and fps is not None and 1000 / fps < shortest:
        raise UserError(
            f"cannot write {path}: {suffix} plays at most {1000 // shortest} frames per second, "
            f"this video has {fps:g}; save it as .mp4"
        )


def check_name(path: Path) -> None:
    """Raises UserError if `path` ends with no name, such as `.`, or is a suffix alone."""
    if path.name in ("", "..") or path.name.lower() in FORMATS:
        raise UserError(f"cannot write {path}: expected the name of a file or a folder")


def check_output(path: Path, inputs: Collection[Path] = ()) -> None:
    """Raises UserError, with the reason, if no video or picture can be written at `path`.

    Creates the parent folder if it is missing. To find out whether the file system takes the name,
    also with the additions of a temporary name, files of these names are created and removed.

    Args:
        path: a file, or without suffix a folder of PNG frames.
        inputs: files that must not be overwritten.
    """
    check_name(path)
    is_folder = path.suffix == ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not os.path.lexists(path)
        # Unlike `lexists`, this raises for a name that the file system does not take.
        for name in [temporary_sibling(path), *([path] if is_new else [])]:
            _try_to_create(name, is_folder)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    if path.exists() and path.is_dir() != is_folder:
        kind = "a folder" if path.is_dir() else "a file"
        raise UserError(f"cannot write {path}: there is {kind} of that name")
    if is_folder and path.exists():
        check_frames_folder(path)
    for file in inputs:
        if path.exists() and file.exists() and any(map(path.samefile, (file, file.parent))):
            raise UserError(f"cannot write {path}: this would overwrite the input {file}")


def check_frames_folder(folder: Path) -> None:
    """Raises UserError if replacing `folder` would delete anything but an older video's frames."""
    if folder.is_symlink():
        raise UserError(f"cannot write {folder}: it is a link; give the name of the folder itself")
    others = [p.name for p in folder.iterdir() if not (p.is_file() and _FRAME.fullmatch(p.name))]
    if others:
        raise UserError(f"cannot write {folder}: it has other files, such as {min(others)}")


def sheet_path(video: Path, inputs: Collection[Path] = ()) -> Path:
    """Returns where the contact sheet of the video file `video` is written.

    This is the first of `video.png`, `video_sheet.png`, `video_sheet_2.png`, … that does not exist
    or is the sheet of an earlier video of the same name; `inputs` are not used. So no other file is
    overwritten.
    """
    for path in _sheet_names(video):
        is_input = any(file.exists() and path.samefile(file) for file in inputs if path.exists())
        if not os.path.lexists(path) or (not is_input and _is_sheet_of(path, video)):
            return path
    raise AssertionError("unreachable: there are infinitely many names")


def save_sheet(path: Path, sheet: "Image", video: Path) -> None:
    """Writes the contact sheet of the video file `video` as PNG, atomically, with a mark of it.

    Raises:
        UserError: `path` cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(_SHEET_OF, _spelled(video))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=info)


def save_or_keep(path: Path, save: Callable[[Path], object], other_suffix: str) -> None:
    """Calls `save(path)`; if that fails, saves to a fallback file before the error is raised.

    The fallback file is in a new folder for temporary files, else in the current or the home
    folder, if there is one. Its name is logged.

    Args:
        path: where to save.
        save: writes the file; its suffix chooses the format.
        other_suffix: suffix of the fallback file if it cannot be written in the same format either.
    """
    try:
        save(path)
    except Exception as error:
        kept = _keep(path.suffix, save, other_suffix)
        reason = user_message(error) or f"cannot write {path}: {error!r}"
        where = f"the result is in {kept} instead" if kept else "no other file could be written"
        _log.warning("%s; %s", reason, where)
        raise


def _keep(suffix: str, save: Callable[[Path], object], other_suffix: str) -> Path | None:
    """Saves to the first fallback file that can be written and returns it; None if none can."""
    for place in (None, ".", *filter(None, [home()])):
        try:
            folder = Path(tempfile.mkdtemp(prefix="videogen-", dir=place))
        except OSError as error:
            _log.debug("no fallback folder in %s: %r", place, error)
            continue
        for form in dict.fromkeys((suffix, other_suffix)):
            path = folder / f"result{form}"
            try:
                save(path)
            except Exception as error:
                _log.debug("no fallback file %s: %r", path, error)
                continue
            return path
        shutil.rmtree(folder)
    return None


def _try_to_create(path: Path, is_folder: bool) -> None:
    if is_folder:
        path.mkdir()
        try:
            _try_to_create(path / FRAME_NAME.format(0), is_folder=False)
        finally:
            path.rmdir()
    else:
        path.touch(exist_ok=False)
        path.unlink()


def _sheet_names(video: Path) -> Iterator[Path]:
    yield video.with_suffix(".png")
    number = 1
    while True:
        yield video.with_name(f"{video.stem}_sheet{f'_{number}' if number > 1 else ''}.png")
        number += 1


def _is_sheet_of(path: Path, video: Path) -> bool:
    """Returns whether `path` is a picture that `save_sheet` wrote for `video`."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.info.get(_SHEET_OF) == _spelled(video)
    except Exception:  # Pillow raises many types for what is not a picture
        return False


def _spelled(video: Path) -> str:
    """Returns the name of a file as text that a PNG can contain."""
    return os.fsencode(video.name).decode("utf-8", "backslashreplace")
