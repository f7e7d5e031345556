"""Sets of videos to score: a folder, a dataset of clips, or the procedural shapes.

Letters: F frames, H height, W width; `3` RGB channels, uint8.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from videogen_jax.data.clips.records import INFO_FILE, ClipDataset, DamagedRecord
from videogen_jax.data.clips.sources.listing import VIDEO_SUFFIXES
from videogen_jax.data.clips.video import decode_window
from videogen_jax.data.shapes import captions
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.runner.reading import Window, png_frames, read_video
from videogen_jax.json_text import read_json_object
from videogen_jax.media.manifest import MANIFEST, read_manifest
from videogen_jax.media.video_folder import REQUEST

SHAPES = "shapes"


class Videos(Protocol):
    """A set of videos, by index."""

    def __len__(self) -> int: ...

    def video(self, index: int) -> np.ndarray:
        """Returns the window of a video, uint8 [F, H, W, 3]; raises a UserError that names it."""
        ...

    def caption(self, index: int) -> str:
        """Returns the caption of a video, "" without one."""
        ...

    def settings(self) -> dict[str, Any]:
        """Returns what identifies the set, for JSON."""
        ...


class FolderVideos:
    """The videos of a folder: those of its manifest, or all that it contains.

    Without a manifest these are its video files and its folders of PNG frames, sorted by name.

    Args:
        folder: The folder.
        window: Which frames are scored.
        count: Number of videos; None for all.
        permuted: Take random videos by the window's seed, in random order, instead of the first.

    Raises:
        MissingFile: There is no such folder.
        UserError: It has fewer videos, its generation is not finished, or its manifest is damaged
            or names a file that is not there or not in the folder.
    """

    def __init__(
        self, folder: Path, window: Window, count: int | None = None, permuted: bool = False
    ) -> None:
        if not folder.is_dir():
            raise MissingFile(f"no folder of videos {folder}")
        entries = _of_manifest(folder) if (folder / MANIFEST).is_file() else _listed(folder)
        chosen = _chosen(len(entries), count, permuted, window.seed, str(folder))
        self._folder, self._window = folder, window
        self._entries = [entries[number] for number in chosen]

    def __len__(self) -> int:
        return len(self._entries)

    def video(self, index: int) -> np.ndarray:
        return read_video(self._folder / self._entries[index].file, self._window, index)

    def caption(self, index: int) -> str:
        return self._entries[index].prompt

    def settings(self) -> dict[str, Any]:
        """Returns the number of videos and a hash of their names, sizes and captions."""
        return {"videos": len(self), "folder_sha256": self._sha256}

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for entry in self._entries:
            size = _bytes(self._folder / entry.file)
            digest.update(f"{entry.file}\0{size}\0{entry.prompt}\n".encode())
        return digest.hexdigest()


class DatasetVideos:
    """Clips of a dataset that `videogen ingest` wrote, in random order by the window's seed.

    Clips that are shorter than the window are left out.

    Raises:
        MissingFile, UserError: As `ClipDataset`, or it has fewer clips.
    """

    def __init__(self, folder: Path, window: Window, count: int | None = None) -> None:
        self._dataset, self._window = ClipDataset(folder), window
        self._sizes = self._dataset.clip_sizes()
        frames, fps = self._sizes["num_frames"], self._sizes["fps"]
        needed = [window.needed(float(rate)) for rate in fps]
        usable = np.flatnonzero(frames >= np.array(needed))
        self.excluded = len(frames) - len(usable)
        where = f"{folder}, without {self.excluded} clips that are too short,"
        self._clips = usable[_chosen(len(usable), count, True, window.seed, where)]

    def __len__(self) -> int:
        return len(self._clips)

    def video(self, index: int) -> np.ndarray:
        number = int(self._clips[index])
        fps, frames = (self._sizes[number][name].item() for name in ("fps", "num_frames"))
        found = self._window.frames_of(index, frames, fps)
        try:
            record = self._dataset[number]
            video_FHW3 = decode_window(record.video, found.start, len(found), found.step)
        except DamagedRecord as error:
            raise UserError(f"{self._dataset.locate(number)}: {error}") from error
        return self._window.fitted(video_FHW3)

    def caption(self, index: int) -> str:
        captions = self._dataset[int(self._clips[index])].captions
        return captions[0] if captions else ""

    def settings(self) -> dict[str, Any]:
        """Returns the number of clips used and left out, and the dataset's hash."""
        sha256 = self._dataset.sha256()
        return {"videos": len(self), "excluded": self.excluded, "dataset_sha256": sha256}


class ShapesVideos:
    """The first held-out clips of the procedural shapes, over their whole motion."""

    def __init__(self, window: Window, count: int) -> None:
        resolution = window.resolution or 64
        frames = window.num_frames
        self._clips = ShapesClips("held_out", count, resolution=resolution, num_frames=frames)

    def __len__(self) -> int:
        return len(self._clips)

    def video(self, index: int) -> np.ndarray:
        return self._clips[index]["video"]

    def caption(self, index: int) -> str:
        spec = self._clips.spec(index)
        return captions.caption(spec, np.random.default_rng(spec.caption_seed))

    def settings(self) -> dict[str, Any]:
        return {"videos": len(self), "shapes": "held_out"}


def open_real(source: str, window: Window, count: int | None) -> Videos:
    """Opens real videos.

    Args:
        source: A dataset of `videogen ingest`, a folder of videos, or `shapes`.
        window: Which frames are scored.
        count: Number of videos; None for all.

    Raises:
        MissingFile, UserError: As the class of the source.
    """
    folder = Path(source)
    if source == SHAPES and not folder.is_dir():
        if count is None:
            raise UserError(f"--real {SHAPES} needs --real-videos N")
        return ShapesVideos(window, count)
    if (folder / INFO_FILE).is_file():
        return DatasetVideos(folder, window, count)
    return FolderVideos(folder, window, count, permuted=True)


def captions_of(videos: Videos) -> tuple[str, ...]:
    """Returns the captions of all videos of a set."""
    return tuple(videos.caption(index) for index in range(len(videos)))


def _chosen(
    there: int, count: int | None, permuted: bool, seed: int, where: str
) -> np.ndarray | Sequence[int]:
    if there == 0 or there < (count or 1):
        raise UserError(
            f"{where} has {there} videos, expected {count or 'some'}: the protocol's numbers are "
            "changed by --num-videos and --real-videos"
        )
    order = np.random.default_rng(seed).permutation(there) if permuted else np.arange(there)
    return order[:count]


@dataclass(frozen=True)
class _Entry:
    """A video of a folder: its file, or the folder of its frames, and its caption."""

    file: str
    prompt: str = ""


def _of_manifest(folder: Path) -> list[_Entry]:
    lines = read_manifest(folder)
    request = read_json_object(folder / REQUEST) if (folder / REQUEST).is_file() else {}
    if len(lines) < request.get("videos", 0):
        raise UserError(f"{folder}: generation is not finished; run the same command again")
    if not lines:
        raise UserError(f"{folder / MANIFEST} has no videos")
    for line in lines:
        path = folder / line["file"]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder / MANIFEST}: {line['file']} is not in the folder")
        if not path.exists():
            raise UserError(f"{folder / MANIFEST}: there is no {path}")
    return [_Entry(line["file"], line.get("prompt", "")) for line in lines]


def _listed(folder: Path) -> list[_Entry]:
    return [
        _Entry(path.name)
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and ((path.is_dir() and png_frames(path)) or path.suffix.lower() in VIDEO_SUFFIXES)
    ]


def _bytes(path: Path) -> int:
    """Returns the size of a file, or of the frames in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in png_frames(path))
    return path.stat().st_size if path.exists() else 0
