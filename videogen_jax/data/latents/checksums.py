"""Checksums of a latent cache: one for each row of each file, checked when the row is read.

`checksums.npz` of a shard has, by the name of a file, the CRC-32 of each of its rows: a window, the
mean or the deviation of a window's latents, both flows of an inner frame, or a text. `info.json`
has the SHA-256 of each shard's `checksums.npz`, so shards that change places are found too. Opening
a cache reads these files, 4 bytes for each row; a read of a row costs its CRC-32, about 1 ms for
each MB.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.errors import MissingFile, UserError

CHECKSUMS_FILE = "checksums.npz"


def write_checksums(folder: Path, checksums: Mapping[str, Sequence[int]]) -> None:
    """Writes the CRC-32 of each row of a shard's files, by the files' names."""
    # Any: pyright takes each of the arrays for the parameter `allow_pickle`.
    arrays: Any = {name: np.array(values, np.uint32) for name, values in checksums.items()}
    np.savez(folder / CHECKSUMS_FILE, **arrays)


def describe_checksums(folder: Path) -> str | None:
    """Returns the SHA-256 of a shard's checksums, None if an earlier version wrote none."""
    path = folder / CHECKSUMS_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_checksums(folder: Path, expected: str) -> dict[str, np.ndarray]:
    """Reads what `write_checksums` wrote.

    Raises:
        MissingFile: the file does not exist.
        UserError: it is not the file of which `expected` is the SHA-256.
    """
    path = folder / CHECKSUMS_FILE
    if not path.is_file():
        raise MissingFile(f"{path} of the latent cache is missing")
    if describe_checksums(folder) != expected:
        raise UserError(f"{path} is damaged, or of another shard: info.json has another SHA-256")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def check_rows(path: Path, checksums: np.ndarray, first: int, rows: np.ndarray) -> None:
    """Raises UserError unless the rows from `first` on have their checksums."""
    for number, row in enumerate(rows, start=first):
        if zlib.crc32(row.tobytes()) != checksums[number]:
            raise UserError(f"{path} is damaged: row {number} differs from what was written")
