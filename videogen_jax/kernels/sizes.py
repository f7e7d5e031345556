"""The sizes of one attention on one device, by which its kernel is chosen."""

import dataclasses

from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Dtype, lengths of the sequences and features of a head, on each device."""

    dtype: DTypeLike
    queries: int
    keys: int
    width: int

    @property
    def logits(self) -> int:
        """Logits of a head."""
        return self.queries * self.keys

    def __str__(self) -> str:
        return f"{self.queries} queries, {self.keys} keys, heads of {self.width} features"
