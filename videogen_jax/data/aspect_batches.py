"""Batches of examples that differ in shape: each batch is of one bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from videogen_jax.errors import UserError

if TYPE_CHECKING:
    import grain

    from videogen_jax.data.loader import Source


@dataclass(frozen=True)
class Buckets:
    """Sources whose examples differ in shape: every batch of `make_loader` is of one of them.

    The buckets take turns evenly, in proportion to their numbers of examples, and each has its own
    order and epochs. Which one a batch is of depends on the batch's number alone.

    Raises:
        UserError: no source.
    """

    sources: "tuple[Source, ...]"

    def __post_init__(self) -> None:
        if not self.sources:
            raise UserError("0 buckets")

    def __len__(self) -> int:
        return sum(map(len, self.sources))


class BucketOfEveryBatch:
    """The endless examples of buckets: each `batch_size` consecutive ones are of one bucket.

    Args:
        parts: the endless examples of each bucket.
        weights: how often each bucket has its turn.
        batch_size: examples of a turn.
    """

    def __init__(
        self, parts: "Sequence[grain.MapDataset]", weights: Sequence[float], batch_size: int
    ):
        import grain

        self._parts, self._batch_size = list(parts), batch_size
        # Pairs of a bucket and the number of the batch in it.
        turns = [
            grain.MapDataset.range(1).repeat().map_with_index(partial(_turn, bucket))
            for bucket in range(len(self._parts))
        ]
        self._turns: Any = grain.MapDataset.mix(turns, list(weights))

    def __len__(self) -> int:
        return len(self._turns)

    def __getitem__(self, index: int) -> Any:
        batch, place = divmod(index, self._batch_size)
        bucket, number = self._turns[batch]
        return self._parts[bucket][number * self._batch_size + place]


def _turn(bucket: int, number: int, _: Any) -> tuple[int, int]:
    return bucket, number
