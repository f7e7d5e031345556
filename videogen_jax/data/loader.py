"""The Grain pipeline from a source to batches: shuffle, repeat, share, tokenise, batch.

Batching comes last, so the order of examples does not depend on the number of threads. The
iterator's state is one counter; Orbax saves it with `grain.checkpoint.CheckpointSave(iterator)`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from videogen_jax.data.tokenizer import Tokenizer

PREFETCH_BATCHES = 2


class Source(Protocol):
    """A random-access source of examples, see `sources.py`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def make_loader(
    source: Source,
    batch_size: int,
    seed: int,
    tokenizer: Tokenizer | None = None,
    max_length: int | None = None,
    *,
    num_threads: int = 2,
    shuffle: bool = True,
    positions: Sequence[int] | None = None,
) -> grain.DatasetIterator:
    """An endless iterator of batches.

    Every epoch is shuffled anew, as a function of `seed`. Each process of a multi-host run reads its
    own part of every batch, and all of them together read what one process would.

    Args:
        source: examples as dicts of arrays and strings.
        batch_size: examples per batch of all processes.
        tokenizer: turns "caption" into "tokens", int32 [B, max_length]; None leaves the text out.
        max_length: tokens per caption, by default the tokenizer's own.
        num_threads: that read the source; any number gives the same batches.
        shuffle: False keeps the order of the source.
        positions: the places in a batch that this process reads, see `sharding.batch_positions`; by
            default all of them.

    Returns:
        an iterator of dicts of stacked arrays, strings left out. `get_state()` and
        `set_state(state)` continue it byte for byte; the state holds for the same source, batch
        size, seed and positions.

    Raises:
        ValueError: a batch size below 1, a source without any example, or positions that are not in
            a batch.
    """
    if batch_size < 1 or not len(source):
        raise ValueError(
            f"batch_size must be >= 1, got {batch_size}, and the source have examples, which has "
            f"{len(source)}"
        )
    places = range(batch_size) if positions is None else positions
    if not places or not 0 <= min(places) <= max(places) < batch_size:
        raise ValueError(f"positions {places} are not in a batch of {batch_size}")
    dataset = grain.MapDataset.source(source).seed(seed)
    if shuffle:
        dataset = dataset.shuffle()
    dataset = _PartOfEveryBatch(dataset.repeat(), batch_size, places)
    dataset = dataset.map(_arrays_only(tokenizer, max_length))
    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=PREFETCH_BATCHES * len(places)
    )
    return iter(dataset.to_iter_dataset(options).batch(len(places), drop_remainder=True))


class _PartOfEveryBatch(grain.MapDataset):
    """Of every `batch_size` elements in a row, those at `places`."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, places: Sequence[int]):
        super().__init__(parent)
        self._batch_size, self._places = batch_size, places

    def __len__(self) -> int:
        return len(self._parent) // self._batch_size * len(self._places)

    def __getitem__(self, index: int) -> Any:
        batch, number = divmod(index, len(self._places))
        return self._parent[batch * self._batch_size + self._places[number]]


def _arrays_only(
    tokenizer: Tokenizer | None, max_length: int | None
) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    def convert(example: dict[str, Any]) -> dict[str, np.ndarray]:
        arrays = {key: value for key, value in example.items() if not isinstance(value, str)}
        if tokenizer is not None:
            arrays["tokens"] = tokenizer([example["caption"]], max_length)[0]
        return arrays

    return convert
