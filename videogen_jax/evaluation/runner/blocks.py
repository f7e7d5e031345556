"""Statistics of a set of videos in blocks, saved with their progress.

Block b of a set has its videos b, b + 32, b + 64, ... One process adds them in this order, in
batches of one size. So the statistics of a block are the same, bit for bit, however many processes
there are and wherever an earlier call stopped. Of a set in progress, one block is in memory.
"""

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from videogen_jax.atomic import replacing
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.measures import Batch, Measure
from videogen_jax.settings_file import require_settings

BLOCKS = 32
SETTINGS = "settings.json"
_POLL_SECONDS = 0.2
_DONE = "done"  # the entry of a block's file with the number of its videos

ReadBatch = Callable[[tuple[int, ...]], Batch]


def accumulate(
    folder: Path,
    settings: dict[str, Any],
    count: int,
    read: ReadBatch,
    make: Callable[[], Measure],
    batch_size: int,
    save_seconds: float = 5.0,
) -> None:
    """Adds the videos of this process's blocks that are not yet in their statistics.

    Args:
        folder: Folder of the statistics.
        settings: What they depend on; those of an earlier call must be the same.
        count: Number of videos of the set.
        read: Reads videos by their numbers.
        make: Returns the measure; called if a video is missing.
        batch_size: Videos that are read and measured together.
        save_seconds: Statistics are saved when they have not been for this long.

    Raises:
        UserError: Other settings, a damaged file of statistics, or a video that `read` refuses.
    """
    require_settings(folder / SETTINGS, settings, "the statistics were begun")
    own = range(jax.process_index(), BLOCKS, jax.process_count())
    rest = {block: _rest(folder, block, count) for block in own}
    total = sum(map(len, rest.values()))
    if not total:
        return
    measure = make()
    with tqdm(
        total=total, desc=f"scoring {folder.name}", unit="video", disable=jax.process_index() > 0
    ) as bar:
        for block, indices in rest.items():
            path = _file(folder, block)
            statistics, done = _load(path, measure) if path.exists() else (measure.empty(), 0)
            saved = time.monotonic()
            for start in range(0, len(indices), batch_size):
                batch = read(tuple(indices[start : start + batch_size]))
                statistics = measure.update(statistics, batch)
                done += len(batch.indices)
                is_last = start + batch_size >= len(indices)
                if is_last or time.monotonic() - saved >= save_seconds:
                    _save(path, statistics, done)
                    saved = time.monotonic()
                bar.update(len(batch.indices))


def collect(folder: Path, count: int, measure: Measure) -> list[Any]:
    """Returns the statistics of the blocks that have videos, after waiting for all processes."""
    found = []
    for block in range(min(BLOCKS, count)):
        while _rest(folder, block, count):
            time.sleep(_POLL_SECONDS)
        found.append(_load(_file(folder, block), measure)[0])
    return found


def _rest(folder: Path, block: int, count: int) -> range:
    """Returns the numbers of a block's videos that are not in its saved statistics."""
    path, indices = _file(folder, block), range(block, count, BLOCKS)
    if not path.exists():
        return indices
    with _opened(path) as arrays:
        return indices[int(arrays[_DONE]) :]


def _file(folder: Path, block: int) -> Path:
    return folder / f"block_{block:02d}.npz"


def _save(path: Path, statistics: Any, done: int) -> None:
    arrays = {name: np.asarray(value) for name, value in statistics._asdict().items()}
    arrays[_DONE] = np.asarray(done)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _load(path: Path, measure: Measure) -> tuple[Any, int]:
    kind = type(measure.empty())
    with _opened(path) as arrays:
        values = [arrays[name][()] for name in kind._fields]
        return kind(*values), int(arrays[_DONE])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens a file of arrays; whatever goes wrong while it is read names it."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        message = f"{path} is damaged ({error}); remove it to compute it again"
        raise UserError(message) from error
