"""The checksums of a dataset's records, by which a damaged or exchanged record is found."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError

CHECKSUMS_FILE = "clip_checksums.npy"

_log = logging.getLogger(__name__)


def write_checksums(directory: Path, checksums: Iterable[int]) -> None:
    """Writes the CRC-32 of every record of a dataset, in its order."""
    with replacing(directory / CHECKSUMS_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(list(checksums), np.uint32))


def read_checksums(directory: Path, count: int) -> np.ndarray | None:
    """Reads what `write_checksums` wrote, [N]; None, with a warning, for an earlier version.

    Raises:
        UserError: as `read_array`.
    """
    path = directory / CHECKSUMS_FILE
    if path.is_file():
        return read_array(path, np.dtype(np.uint32), count)
    _log.warning(
        "%s has no %s: written by an earlier version, it is read without checks of its content",
        directory,
        CHECKSUMS_FILE,
    )
    return None


def read_array(path: Path, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Reads a `.npy` file with one value for each of `count` clips.

    Raises:
        UserError: the file cannot be read, or is not that of a dataset of `count` clips.
    """
    try:
        with path.open("rb") as file:
            values_N = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if values_N.dtype != dtype or values_N.shape != (count,):
        raise UserError(f"{path} is not of this dataset of {count} clips")
    return values_N
