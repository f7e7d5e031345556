"""The Grain pipeline from a source to batches: shard, shuffle, repeat, tokenise, batch.

Batching comes last, so the order of examples does not depend on the number of threads. The
iterator's state is one counter; Orbax saves it with `grain.checkpoint.CheckpointSave(iterator)`.
"""

from collections.abc import Callable
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
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """An endless iterator of batches.

    Each process of a multi-host run reads its own part of the source: the examples process_index,
    process_index + process_count and so on. Every epoch is shuffled anew, as a function of `seed`.

    Args:
        source: examples as dicts of arrays and strings.
        batch_size: examples per batch of this process.
        tokenizer: turns "caption" into "tokens", int32 [B, max_length]; None leaves the text out.
        max_length: tokens per caption, by default the tokenizer's own.
        num_threads: that read the source; any number gives the same batches.
        shuffle: False keeps the order of the source.

    Returns:
        an iterator of dicts of stacked arrays, strings left out. `get_state()` and
        `set_state(state)` continue it byte for byte; the state holds for the same source, batch
        size, seed and process count.

    Raises:
        ValueError: a batch size below 1, or a process without any example.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")
    if not 0 <= process_index < process_count <= len(source):
        raise ValueError(
            f"need 0 <= process_index < process_count <= examples, got {process_index}, "
            f"{process_count} and {len(source)} examples"
        )
    dataset = grain.MapDataset.source(source).seed(seed)[process_index::process_count]
    if shuffle:
        dataset = dataset.shuffle()
    dataset = dataset.repeat().map(_arrays_only(tokenizer, max_length))
    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=PREFETCH_BATCHES * batch_size
    )
    return iter(dataset.to_iter_dataset(options).batch(batch_size, drop_remainder=True))


def _arrays_only(
    tokenizer: Tokenizer | None, max_length: int | None
) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    def convert(example: dict[str, Any]) -> dict[str, np.ndarray]:
        arrays = {key: value for key, value in example.items() if not isinstance(value, str)}
        if tokenizer is not None:
            arrays["tokens"] = tokenizer([example["caption"]], max_length)[0]
        return arrays

    return convert
