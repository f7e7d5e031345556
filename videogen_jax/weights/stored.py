"""Tensors that are read from their file when they are indexed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.weights.files import SafeTensors


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file: `tensor[index]` reads only that part, as `dtype`.

    It can replace an array that is only indexed, cast or converted. With it, `sharding.put_tree`
    reads each device's part from the file, and no process keeps the whole tensor in memory.
    """

    tensors: SafeTensors
    name: str
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors.shape(self.name)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def astype(self, dtype: Any) -> "StoredTensor":
        """Returns the same tensor, to be cast when it is read."""
        return StoredTensor(self.tensors, self.name, np.dtype(dtype))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Returns the part as `dtype`; raises UserError if float16 is too small for a number."""
        stored = self.tensors.mapped(self.name)[index]
        if self.dtype != np.float16:
            return stored.astype(self.dtype)
        with np.errstate(over="ignore"):  # reported below, with the tensor's name
            part = stored.astype(self.dtype)
        if not np.isfinite(part).all():
            raise UserError(f"{self.name} has numbers that float16 cannot hold; use bfloat16")
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[...].astype(dtype or self.dtype, copy=False)
