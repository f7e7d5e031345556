"""The Grain pipeline from a source to batches: shuffle, repeat, split by process, tokenise, batch.

Batching comes last: the order of examples does not depend on the number of threads. The order is a
function of the seed alone, and the position in it is one number for all processes. So a run can
resume at the same example with another number of processes. Grain's own state, a file per process,
would be tied to their number.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from videogen_jax.data.aspect_batches import BucketOfEveryBatch, Buckets
from videogen_jax.errors import UserError
from videogen_jax.tokenizer import Tokenizer

if TYPE_CHECKING:
    import grain

PREFETCH_BATCHES = 2


class Source(Protocol):
    """A random-access source of examples, see `shapes/sources.py`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


@runtime_checkable
class EpochSource(Source, Protocol):
    """A source whose examples differ in each epoch; `source[index]` is that of epoch 0."""

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns the example of an epoch, as a function of the arguments alone."""
        ...


@dataclass(frozen=True)
class Mixture:
    """Sources interleaved evenly in the proportion of `weights`, each with its order and epochs.

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
    """Returns an example in an epoch; most sources have the same examples in each."""
    return source.at(index, epoch) if isinstance(source, EpochSource) else source[index]


def make_loader(
    source: Source | Mixture | Buckets,
    batch_size: int,
    seed: int,
    tokenizer: Tokenizer | None = None,
    max_length: int | None = None,
    *,
    num_threads: int = 2,
    num_workers: int = 0,
    shuffle: bool = True,
    positions: Sequence[int] | None = None,
) -> "Batches":
    """Makes an endless iterator of batches.

    Every epoch is shuffled differently, as a function of `seed`. Each process of a multi-host run
    reads its own part of every batch; together they read what a single process would.

    Args:
        source: examples as dicts of arrays and strings; all sources of a mixture, or in buckets,
            have the same keys.
        batch_size: examples per batch of all processes.
        seed: seed of the order.
        tokenizer: tokenizes "caption" to "tokens", int32 [B, max_length], and "contrasts", if
            present, to "contrast_tokens", int32 [B, K, max_length]; None leaves the text out.
        max_length: tokens per caption, by default the tokenizer's own.
        num_threads: threads that read the source; the batches do not depend on it.
        num_workers: processes that read it, each with `num_threads` threads, for sources whose work
            holds Python's lock; 0 reads in this process. The batches do not depend on it. The
            source is pickled.
        shuffle: False keeps the order of the source.
        positions: the positions in a batch that this process reads, see
            `sharding.batch_positions`; by default all of them.

    Returns:
        an iterator of dicts of stacked arrays, without strings. `get_state()` and
        `set_state(state)` resume it exactly; a state is valid for the same source and seed.

    Raises:
        UserError: a batch size below 1, or a source without examples.
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
    convert = partial(_arrays_only, tokenizer, max_length)
    if isinstance(source, Buckets):
        parts = [_endless(part, seed + i, shuffle) for i, part in enumerate(source.sources)]
        dataset = BucketOfEveryBatch(parts, list(map(len, source.sources)), batch_size)
    else:
        dataset = _endless(source, seed, shuffle)

    def read_from(first: int) -> Iterator[dict[str, np.ndarray]]:
        part = _PartOfEveryBatch(dataset, batch_size, places, first)
        return _read(part, convert, len(places), num_threads, num_workers)

    return Batches(read_from, batch_size)


def read_once(
    source: Source,
    batch_size: int,
    tokenizer: Tokenizer | None = None,
    max_length: int | None = None,
    *,
    num_threads: int = 2,
    positions: Sequence[int] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Reads the examples of a source once, in its order, in batches as of `make_loader`.

    Raises:
        ValueError: the number of examples is not a multiple of `batch_size`.
    """
    if len(source) % batch_size:
        raise ValueError(f"{len(source)} examples are not a multiple of {batch_size}")
    places = range(batch_size) if positions is None else positions
    part = _PartOfEveryBatch(source, batch_size, places, 0)
    convert = partial(_arrays_only, tokenizer, max_length)
    return _read(part, convert, len(places), num_threads, num_workers=0)


def _read(
    part: "_PartOfEveryBatch",
    convert: Callable[[dict[str, Any]], dict[str, np.ndarray]],
    size: int,
    num_threads: int,
    num_workers: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Reads a process's part of every batch, in batches of `size`."""
    import grain

    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=PREFETCH_BATCHES * size
    )
    examples = grain.MapDataset.source(part).map(convert).to_iter_dataset(options)
    if num_workers:  # before batching: so the order does not depend on their number
        examples = _in_processes(examples, num_workers, size)
    return iter(examples.batch(size, drop_remainder=True))


class Batches(Iterator[dict[str, np.ndarray]]):
    """An iterator of batches; examples are numbered from 0 over all epochs.

    Args:
        read_from: function that returns the batches from an example's number on.
        batch_size: examples per batch of all processes.
    """

    def __init__(
        self, read_from: Callable[[int], Iterator[dict[str, np.ndarray]]], batch_size: int
    ):
        self._read_from, self._batch_size = read_from, batch_size
        self._samples = 0
        self._batches: Iterator[dict[str, np.ndarray]] | None = None  # made by the first `next`

    def __next__(self) -> dict[str, np.ndarray]:
        if self._batches is None:
            self._batches = self._read_from(self._samples)
        batch = next(self._batches)
        self._samples += self._batch_size
        return batch

    def get_state(self) -> dict[str, int]:
        """Returns `{"samples": number of the next example}`, the same in every process."""
        return {"samples": self._samples}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues from a `state` of `get_state`, also of a run with more or fewer processes."""
        self._samples, self._batches = int(state["samples"]), None


def _endless(source: Source | Mixture, seed: int, shuffle: bool) -> "grain.MapDataset":
    """Returns the endless dataset of a source's epochs."""
    import grain

    if isinstance(source, Mixture):
        parts = [_endless(part, seed + i, shuffle) for i, part in enumerate(source.sources)]
        return grain.MapDataset.mix(parts, source.weights)
    size = len(source)
    indices = grain.MapDataset.source(range(size)).seed(seed)
    shuffled = (indices.shuffle() if shuffle else indices).repeat()
    return shuffled.map_with_index(lambda i, index: example_at(source, index, i // size))


def _in_processes(
    examples: "grain.IterDataset", num_workers: int, batch_size: int
) -> "grain.IterDataset":
    """Returns the same examples, read by processes that keep the next batches ready."""
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain 0.2.18 reads a flag, which only absl's own apps parse
        flags.FLAGS.mark_as_parsed()
    each = math.ceil(PREFETCH_BATCHES * batch_size / num_workers)
    return examples.mp_prefetch(grain.MultiprocessingOptions(num_workers, each))


class _PartOfEveryBatch:
    """The elements at `places` of every `batch_size` consecutive elements, from `first` on."""

    def __init__(
        self,
        parent: "grain.MapDataset | Source",
        batch_size: int,
        places: Sequence[int],
        first: int,
    ):
        self._parent = parent
        self._batch_size, self._places, self._first = batch_size, places, first

    def __len__(self) -> int:
        return (len(self._parent) - self._first) // self._batch_size * len(self._places)

    def __getitem__(self, index: int) -> Any:
        batch, number = divmod(index, len(self._places))
        return self._parent[self._first + batch * self._batch_size + self._places[number]]


def _arrays_only(
    tokenizer: Tokenizer | None, max_length: int | None, example: dict[str, Any]
) -> dict[str, np.ndarray]:
    arrays = {k: value for k, value in example.items() if not isinstance(value, str | list)}
    if tokenizer is not None:
        arrays["tokens"] = tokenizer([example["caption"]], max_length)[0]
        if "contrasts" in example:
            arrays["contrast_tokens"] = tokenizer(example["contrasts"], max_length)
    return arrays
