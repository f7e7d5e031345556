"""The source that reads a latent cache; `layout.py` describes its files.

Letters: F frames, H height, W width, Z latent channels, T tokens, D text channels; a trailing 2 is
a flow's (x, y).
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.data.latents.checksums import check_rows, read_checksums
from videogen_jax.data.latents.layout import (
    BEGUN_FILE,
    INFO_FILE,
    Array,
    CacheLayout,
    npy_header,
)
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path, is_remote, read_range

_log = logging.getLogger(__name__)


class LatentCache:
    """A source of latents and text states in place of pixels and captions.

    It is picklable and thread-safe. Examples are read from the files at each access: nothing is
    kept in memory or mapped. From a bucket, each row is one request for a range of bytes.

    Args:
        directory: a folder written by `videogen cache-latents`.
        resolutions: the resolutions to read, by default all.
        deviation: also read the posterior's standard deviation.
        text: also read the text states.
        flows: also read the flows, if there are any.

    Attributes:
        info: the contents of `info.json`.
        layout: the layout of the files.

    Raises:
        MissingFile: the cache or one of its files does not exist.
        UserError: the cache is unfinished, of an old version or lacks a resolution, or a file is
            truncated or differs from its checksums.
    """

    def __init__(
        self,
        directory: str | Path,
        resolutions: Sequence[int] | None = None,
        *,
        deviation: bool = True,
        text: bool = True,
        flows: bool = True,
    ):
        self.directory = as_path(directory)
        self.info = read_info(self.directory)
        self.layout = _layout(self.directory, self.info)
        there = sorted(self.layout.latents)
        self._resolutions = tuple(there if resolutions is None else resolutions)
        if missing := sorted(set(self._resolutions) - set(there)):
            raise UserError(
                f"{self.directory}: has latents at {_listed(there)} pixels, none at "
                f"{_listed(missing)}"
            )
        self._deviation, self._text = deviation, text
        self._flows = self.layout.flows if flows else None
        self._check_files()
        self._checksums = self._read_checksums()

    def __len__(self) -> int:
        return self.layout.clips

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns a clip's window in an epoch; the cached epochs repeat.

        Returns:
            latents_<resolution>: float32 [F, H, W, Z], mean of the scaled posterior.
            latents_std_<resolution>: float32 [F, H, W, Z], its standard deviation.
            text_states: float32 [T, D]. text_pooled: float32 [D].
            fps: float32. index: int32, the clip's index in its dataset.

        Raises:
            UserError: a file differs from its checksums, or was truncated after the cache was
                opened.
        """
        shard, row = self._window(index, epoch)
        window = self._read(shard, "windows", row, 1)[0]
        example = {"index": np.int32(window["index"]), "fps": np.float32(window["fps"])}
        for resolution in self._resolutions:
            example |= self._latents(shard, row, resolution)
        return example | (self.text(shard, int(window["text"])) if self._text else {})

    @property
    def has_flows(self) -> bool:
        """Whether `flows` can be called."""
        return self._flows is not None

    def flows(self, index: int, epoch: int, frame: int) -> np.ndarray:
        """Returns the flows from an inner frame of a clip's window to both ends of the window.

        Only the rows of this frame are read.

        Args:
            index: number of the clip.
            epoch: the cached epochs repeat.
            frame: position in the window, 1 .. F - 2.

        Returns:
            float32 [2, H, W, 2], to the first frame and to the last one, in pixels of this grid.

        Raises:
            UserError: as `at`.
        """
        if self._flows is None:
            raise ValueError(f"{self.directory} was opened without flows, or has none")
        shard, row = self._window(index, epoch)
        inner, *shape = self._flows
        first = (row * inner + frame - 1) * math.prod(shape)
        return self._floats(shard, "flows", first, tuple(shape))

    def _window(self, index: int, epoch: int) -> tuple[int, int]:
        """Returns a window's shard and its place there."""
        # IndexError ends `for example in source`.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in a cache of {len(self)} clips")
        shard, clip = divmod(index, self.layout.clips_per_shard)
        return shard, clip * self.layout.epochs + epoch % self.layout.epochs

    def text(self, shard: int = 0, row: int = 0) -> dict[str, np.ndarray]:
        """Returns text_states and text_pooled of a shard's text, by default the empty prompt."""
        length, width = self.layout.text
        shapes = {"text_states": (length, width), "text_pooled": (width,)}
        return {
            name: self._floats(shard, name, row * math.prod(shape), shape)
            for name, shape in shapes.items()
        }

    def _latents(self, shard: int, row: int, resolution: int) -> dict[str, np.ndarray]:
        name, shape = f"latents_{resolution}", self.layout.latents[resolution]
        count = 2 if self._deviation else 1
        moments = self._floats(shard, name, 2 * row * math.prod(shape), (count, *shape))
        names = (name, f"latents_std_{resolution}")
        return dict(zip(names, moments, strict=False))

    def _floats(self, shard: int, name: str, first: int, shape: tuple[int, ...]) -> np.ndarray:
        values = self._read(shard, name, first, math.prod(shape))
        return values.astype(np.float32, copy=False).reshape(shape)

    def _read(self, shard: int, name: str, first: int, count: int) -> np.ndarray:
        """Reads `count` values of a flattened array from position `first` on."""
        path, (shape, dtype) = self._path(shard, name), self._arrays(shard)[name]
        offset = len(npy_header(shape, dtype)) + first * dtype.itemsize
        if is_remote(path):
            values = np.frombuffer(read_range(path, offset, count * dtype.itemsize), dtype)
        else:  # not a memory map: mapped pages would stay resident
            values = np.fromfile(path, dtype, count, offset=offset)
        if len(values) != count:
            raise UserError(f"{path} is damaged: it was cut off after it was opened")
        if (checksums := self._checksums[shard].get(name)) is not None:
            size = math.prod(shape) // len(checksums)
            check_rows(path, checksums, first // size, values.reshape(-1, size))
        return values

    def _path(self, shard: int, name: str) -> Path:
        return self.directory / self.layout.shard_name(shard) / f"{name}.npy"

    def _arrays(self, shard: int) -> dict[str, Array]:
        return self.layout.arrays(shard, self.info["texts"][shard])

    def _check_files(self) -> None:
        unread = {f"latents_{r}" for r in self.layout.latents if r not in self._resolutions}
        if not self.has_flows:
            unread.add("flows")
        for shard in range(self.layout.num_shards):
            for name, (shape, dtype) in self._arrays(shard).items():
                path = self._path(shard, name)
                if name in unread:
                    continue
                if not path.is_file():
                    raise MissingFile(f"{path} of the latent cache is missing")
                expected = len(npy_header(shape, dtype)) + math.prod(shape) * dtype.itemsize
                if (size := path.stat().st_size) != expected:
                    raise UserError(f"{path} is damaged: has {size} bytes, expected {expected}")

    def _read_checksums(self) -> list[dict[str, np.ndarray]]:
        """Reads the rows' checksums of every shard; none of those of an earlier version."""
        expected = self.info.get("checksums", [])
        if not isinstance(expected, list):
            raise UserError(f"{self.directory / INFO_FILE}: checksums must be a list")
        if len(expected) != self.layout.num_shards or None in expected:
            _log.warning(
                "%s has no checksums, or not of all shards: written by an earlier version, it is "
                "read without checks of its content",
                self.directory,
            )
            return [{}] * self.layout.num_shards
        return [
            read_checksums(self.directory / self.layout.shard_name(shard), digest)
            for shard, digest in enumerate(expected)
        ]


def read_info(directory: Path) -> dict[str, Any]:
    """Returns the contents of `info.json`; raises the errors of `LatentCache`."""
    again = "videogen cache-latents makes one"
    if not (directory / INFO_FILE).is_file():
        if (directory / BEGUN_FILE).is_file():
            raise UserError(
                f"{directory}: not finished; run the same videogen cache-latents command again"
            )
        if any(directory.glob("latents_*.npy")):
            raise UserError(
                f"{directory}: a latent cache of an old version, without deviations and text "
                f"states; {again} anew, into another folder"
            )
        raise MissingFile(f"{directory}: no latent cache there ({again})")
    try:
        return json.loads((directory / INFO_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{directory / INFO_FILE}: not JSON: {error}") from error


def _layout(directory: Path, info: Any) -> CacheLayout:
    try:
        layout = CacheLayout(
            int(info["clips"]),
            int(info["epochs"]),
            int(info["clips_per_shard"]),
            info["dtype"],
            {int(r): tuple(shape) for r, shape in info["latents"].items()},
            tuple(info["text"]),
            tuple(flows) if (flows := info.get("flows")) else None,  # absent in earlier versions
        )
        if len(info["texts"]) != layout.num_shards or layout.dtype not in ("float32", "float16"):
            raise UserError("counts and types do not fit together")
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        path = directory / INFO_FILE
        raise UserError(f"{path}: not the description of a latent cache: {error!r}") from error
    return layout


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
