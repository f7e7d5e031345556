"""Writer of the shards of a latent cache: encodes windows in order; each shard is atomic.

The encoders are passed as functions, because `data` imports no model.

Letters: B windows or texts, F frames, H height, W width, Z latent channels, T tokens, D text
channels; a trailing 3 are RGB channels, a trailing 2 a flow's (x, y).
"""

import contextlib
import itertools
import json
import math
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import grain
import numpy as np
from tqdm import tqdm

from videogen_jax.atomic import replacing
from videogen_jax.data.latents.checksums import (
    CHECKSUMS_FILE,
    describe_checksums,
    write_checksums,
)
from videogen_jax.data.latents.layout import INFO_FILE, WINDOW, CacheLayout, npy_header
from videogen_jax.data.loader import Source, example_at
from videogen_jax.errors import UserError
from videogen_jax.paths import is_remote, is_whole


@dataclass(frozen=True)
class Encoders:
    """The frozen networks as functions.

    Attributes:
        latents: uint8 [B, F, H, W, 3] → by resolution, scaled mean and deviation
            [B, 2, F, h, w, Z] of the posterior.
        tokens: any number of captions → int32 [captions, T].
        text: int32 [B, T] → states [B, T, D] and pooled [B, D].
        batch: B, the exact batch size of `latents`, `text` and `flows`.
        flows: uint8 [B, F, H, W, 3] → flows from every inner frame to both ends
            [B, F - 2, 2, h, w, 2]; given if and only if the layout has flows.
    """

    latents: Callable[[np.ndarray], Mapping[int, np.ndarray]]
    tokens: Callable[[Sequence[str]], np.ndarray]
    text: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    batch: int
    flows: Callable[[np.ndarray], np.ndarray] | None = None


def write_shards(
    directory: Path,
    layout: CacheLayout,
    source: Source,
    encoders: Encoders,
    shards: Sequence[int],
    *,
    num_threads: int = 2,
    quiet: bool = False,
) -> None:
    """Writes the missing ones of `shards`.

    The content of a shard is a function of its number: no batch spans two shards.

    Args:
        directory: the cache's folder.
        layout: layout of its files.
        source: clips; from an `EpochSource`, window e of each clip is that of epoch e.
        encoders: the frozen networks.
        shards: numbers of the shards; no other process may write the same ones.
        num_threads: threads that read the source.
        quiet: show no progress bar.

    Raises:
        UserError: an error of the source, or a value is not finite in the type on disk.
    """
    shards = sorted(shards)
    for shard in [] if is_remote(directory) else shards:
        for leftover in directory.glob(f".{layout.shard_name(shard)}.*"):  # of a killed process
            shutil.rmtree(leftover)
    is_there = lambda n: is_whole(directory / layout.shard_name(n), CHECKSUMS_FILE)
    missing = [n for n in shards if not is_there(n)]
    count = lambda numbers: layout.epochs * sum(map(layout.shard_clips, numbers))
    windows = _read_windows(source, layout, missing, num_threads)
    with tqdm(
        total=count(shards),
        initial=count(shards) - count(missing),
        desc=f"encoding {directory.name}",
        unit="window",
        disable=quiet,
    ) as progress:
        for shard in missing:
            path = directory / layout.shard_name(shard)
            with replacing(path, last=CHECKSUMS_FILE) as folder:
                folder.mkdir()
                _Shard(folder, layout, shard, encoders).write(windows, progress)


def write_info(directory: Path, layout: CacheLayout, config: Mapping[str, Any]) -> None:
    """Writes the description of a cache with all shards, which completes it."""
    folders = [directory / layout.shard_name(shard) for shard in range(layout.num_shards)]
    texts = [_rows_of(folder / "text_pooled.npy") for folder in folders]
    arrays = [layout.arrays(*each).values() for each in enumerate(texts)]
    info = {
        "clips": layout.clips,
        "epochs": layout.epochs,
        "clips_per_shard": layout.clips_per_shard,
        "dtype": layout.dtype,
        "latents": {str(size): shape for size, shape in layout.latents.items()},
        "text": layout.text,
        "flows": layout.flows,
        "texts": texts,
        "checksums": [describe_checksums(folder) for folder in folders],
        "bytes": sum(math.prod(s) * d.itemsize for s, d in itertools.chain(*arrays)),
        "config": config,
    }
    with replacing(directory / INFO_FILE) as temporary:
        temporary.write_text(json.dumps(info, indent=2) + "\n")


def _rows_of(path: Path) -> int:
    """Returns the length of an array from the header of its file."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return shape[0]


class _Windows:
    """Grain source of the windows of some shards, in the order of their files."""

    def __init__(self, source: Source, layout: CacheLayout, shards: Sequence[int]):
        self._source, self._layout, self._shards = source, layout, shards

    def __len__(self) -> int:
        return self._layout.epochs * sum(map(self._layout.shard_clips, self._shards))

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, epoch = divmod(index, self._layout.epochs)
        place, clip = divmod(clip, self._layout.clips_per_shard)  # only the last can be smaller
        first = self._shards[place] * self._layout.clips_per_shard
        return example_at(self._source, first + clip, epoch)


def _read_windows(
    source: Source, layout: CacheLayout, shards: Sequence[int], num_threads: int
) -> Iterator[dict[str, Any]]:
    if not shards:
        return iter(())
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * num_threads)
    windows = grain.MapDataset.source(_Windows(source, layout, shards))
    return iter(windows.to_iter_dataset(options))


class _Shard:
    """Writer of one shard."""

    def __init__(self, folder: Path, layout: CacheLayout, number: int, encoders: Encoders):
        self._folder, self._layout, self._number = folder, layout, number
        self._encoders = encoders
        self._texts: dict[bytes, int] = {}  # row by tokens
        self._checksums: defaultdict[str, list[int]] = defaultdict(list)
        self._row_of(encoders.tokens([""])[0])

    def write(self, windows: Iterator[dict[str, Any]], progress: tqdm) -> None:
        left = self._layout.shard_clips(self._number) * self._layout.epochs
        arrays = self._layout.arrays(self._number, 0)
        names = [name for name in arrays if not name.startswith("text_")]
        with self._open({name: arrays[name] for name in names}) as files:
            while left:
                examples = list(itertools.islice(windows, min(left, self._encoders.batch)))
                left -= len(examples)
                files["windows"].write(self._checked("windows", self._rows(examples)))
                video = np.stack([example["video"] for example in examples])
                padded = _padded(video, self._encoders.batch)
                for name, what, values in self._encoded(padded):
                    rows = values[: len(examples)].reshape(-1, *values.shape[2:])
                    files[name].write(self._checked(name, self._stored(rows, what)))
                progress.update(len(examples))
        self._write_texts()
        write_checksums(self._folder, self._checksums)

    def _encoded(self, video_BFHW3: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yields name, description and values of each array; its first two axes number the rows."""
        for size, moments in self._encoders.latents(video_BFHW3).items():
            yield f"latents_{size}", f"latents at {size} pixels", moments
        if self._encoders.flows is not None:
            yield "flows", "flows", self._encoders.flows(video_BFHW3)

    def _rows(self, examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
        tokens_BT = self._encoders.tokens([example["caption"] for example in examples])
        rows = [
            (example["index"], example["fps"], self._row_of(tokens_T))
            for example, tokens_T in zip(examples, tokens_BT, strict=True)
        ]
        return np.array(rows, WINDOW)

    def _row_of(self, tokens_T: np.ndarray) -> int:
        return self._texts.setdefault(tokens_T.astype(np.int32).tobytes(), len(self._texts))

    def _write_texts(self) -> None:
        tokens_ST = np.stack([np.frombuffer(tokens, np.int32) for tokens in self._texts])
        arrays = self._layout.arrays(self._number, len(tokens_ST))
        batch = self._encoders.batch
        texts = {name: arrays[name] for name in ("text_states", "text_pooled")}
        with self._open(texts) as files:
            for start in range(0, len(tokens_ST), batch):
                tokens = tokens_ST[start : start + batch]
                encoded = self._encoders.text(_padded(tokens, batch))
                for name, values in zip(texts, encoded, strict=True):
                    stored = self._stored(values[: len(tokens)], name)
                    files[name].write(self._checked(name, stored))

    def _checked(self, name: str, rows: np.ndarray) -> bytes:
        """Returns the bytes of some rows of a file, and keeps the checksum of each."""
        self._checksums[name] += [zlib.crc32(row.tobytes()) for row in rows]
        return rows.tobytes()

    def _stored(self, values: np.ndarray, what: str) -> np.ndarray:
        with np.errstate(over="ignore"):  # an overflow is reported below
            stored = np.asarray(values).astype(self._layout.dtype)
        if not np.isfinite(stored).all():
            name = self._layout.shard_name(self._number)
            raise UserError(f"{name}: {what} are not finite in {self._layout.dtype}")
        return stored

    @contextlib.contextmanager
    def _open(
        self, arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> Iterator[dict[str, BinaryIO]]:
        with contextlib.ExitStack() as stack:
            files: dict[str, BinaryIO] = {}
            for name, array in arrays.items():
                path = self._folder / f"{name}.npy"
                files[name] = stack.enter_context(path.open("wb"))
                files[name].write(npy_header(*array))
            yield files


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Pads a batch with zeros, to avoid a compilation for the size of the last batch."""
    return np.pad(array, ((0, size - len(array)), *((0, 0),) * (array.ndim - 1)))
