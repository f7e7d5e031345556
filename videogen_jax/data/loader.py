"""The Grain pipeline from a source to batches: shuffle, repeat, share, tokenise, batch.

Batching comes last, so the order of examples does not depend on the number of threads. The
order is a function of the seed alone, and how far it was read is one number for all processes: a
run goes on at the same example on any number of them. Grain's own state, a file per process, is
tied to their number.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.tokenizer import Tokenizer

if TYPE_CHECKING:
    import grain

PREFETCH_BATCHES = 2


class Source(Protocol):
    """A random-access source of examples, see `sources.py`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


@runtime_checkable
class EpochSource(Source, Protocol):
    """A source whose examples are others in each epoch; `source[index]` is that of epoch 0."""

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """A function of its arguments alone."""
        ...


@dataclass(frozen=True)
class Mixture:
    """Sources, each with its own order and epochs, interleaved evenly in the proportion of `weights`.

    Raises:
        UserError: no source, another number of weights, or a weight that is not above 0.
    """

    sources: tuple[Source, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.sources or len(self.sources) != len(self.weights):
            raise UserError(f"{len(self.sources)} sources and {len(self.weights)} weights")
        if not all(0 < weight < math.inf for weight in self.weights):
            raise UserError(f"weights must be above 0, got {self.weights}")

    def __len__(self) -> int:
        return sum(map(len, self.sources))


def example_at(source: Source, index: int, epoch: int) -> dict[str, Any]:
    """The example of an epoch; most sources have the same in each."""
    return source.at(index, epoch) if isinstance(source, EpochSource) else source[index]


def make_loader(
    source: Source | Mixture,
    batch_size: int,
    seed: int,
    tokenizer: Tokenizer | None = None,
    max_length: int | None = None,
    *,
    num_threads: int = 2,
    shuffle: bool = True,
    positions: Sequence[int] | None = None,
) -> "Batches":
    """An endless iterator of batches.

    Every epoch is shuffled anew, as a function of `seed`. Each process of a multi-host run reads its
    own part of every batch, and all of them together read what one process would.

    Args:
        source: examples as dicts of arrays and strings; of a mixture, all with the same keys.
        batch_size: examples per batch of all processes.
        tokenizer: turns "caption" into "tokens", int32 [B, max_length], and "contrasts", if there,
            into "contrast_tokens", int32 [B, K, max_length]; None leaves the text out.
        max_length: tokens per caption, by default the tokenizer's own.
        num_threads: that read the source; any number gives the same batches.
        shuffle: False keeps the order of the source.
        positions: the places in a batch that this process reads, see `sharding.batch_positions`; by
            default all of them.

    Returns:
        an iterator of dicts of stacked arrays, strings left out. `get_state()` and
        `set_state(state)` continue it byte for byte; the state holds for the same source and seed.

    Raises:
        UserError: a batch size below 1, or a source without any example.
        ValueError: positions that are not in a batch.
    """
    if batch_size < 1 or not len(source):
        raise UserError(
            f"batch_size must be >= 1, got {batch_size}, and the source have examples, which has "
            f"{len(source)}"
        )
    places = range(batch_size) if positions is None else positions
    if not places or not 0 <= min(places) <= max(places) < batch_size:
        raise ValueError(f"positions {places} are not in a batch of {batch_size}")
    import grain

    dataset, convert = _endless(source, seed, shuffle), _arrays_only(tokenizer, max_length)
    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=PREFETCH_BATCHES * len(places)
    )

    def read_from(first: int) -> Iterator[dict[str, np.ndarray]]:
        part = grain.MapDataset.source(_PartOfEveryBatch(dataset, batch_size, places, first))
        examples = part.map(convert).to_iter_dataset(options)
        return iter(examples.batch(len(places), drop_remainder=True))

    return Batches(read_from, batch_size)


class Batches(Iterator[dict[str, np.ndarray]]):
    """Batches in an order in which every example has a number, from 0, counted over all epochs.

    Args:
        read_from: the batches that start with an example's number.
        batch_size: examples per batch of all processes.
    """

    def __init__(
        self, read_from: Callable[[int], Iterator[dict[str, np.ndarray]]], batch_size: int
    ):
        self._read_from, self._batch_size = read_from, batch_size
        self._samples = 0
        self._batches: Iterator[dict[str, np.ndarray]] | None = None  # made when first asked for

    def __next__(self) -> dict[str, np.ndarray]:
        if self._batches is None:
            self._batches = self._read_from(self._samples)
        batch = next(self._batches)
        self._samples += self._batch_size
        return batch

    def get_state(self) -> dict[str, int]:
        """`{"samples": number of the next example}`, the same in every process."""
        return {"samples": self._samples}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on where `get_state` gave `state`, in a run on any number of processes."""
        self._samples, self._batches = int(state["samples"]), None


def _endless(source: Source | Mixture, seed: int, shuffle: bool) -> "grain.MapDataset":
    """Epoch after epoch of examples."""
    import grain

    if isinstance(source, Mixture):
        parts = [_endless(part, seed + i, shuffle) for i, part in enumerate(source.sources)]
        return grain.MapDataset.mix(parts, source.weights)
    size = len(source)
    indices = grain.MapDataset.source(range(size)).seed(seed)
    shuffled = (indices.shuffle() if shuffle else indices).repeat()
    return shuffled.map_with_index(lambda i, index: example_at(source, index, i // size))


class _PartOfEveryBatch:
    """Of every `batch_size` elements in a row, from `first` on, those at `places`."""

    def __init__(
        self, parent: "grain.MapDataset", batch_size: int, places: Sequence[int], first: int
    ):
        self._parent = parent
        self._batch_size, self._places, self._first = batch_size, places, first

    def __len__(self) -> int:
        return (len(self._parent) - self._first) // self._batch_size * len(self._places)

    def __getitem__(self, index: int) -> Any:
        batch, number = divmod(index, len(self._places))
        return self._parent[self._first + batch * self._batch_size + self._places[number]]


def _arrays_only(
    tokenizer: Tokenizer | None, max_length: int | None
) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    def convert(example: dict[str, Any]) -> dict[str, np.ndarray]:
        arrays = {k: value for k, value in example.items() if not isinstance(value, str | list)}
        if tokenizer is not None:
            arrays["tokens"] = tokenizer([example["caption"]], max_length)[0]
            if "contrasts" in example:
                arrays["contrast_tokens"] = tokenizer(example["contrasts"], max_length)
        return arrays

    return convert
