"""Tensors that stay in their file until a part of them is asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_jax.weights.files import SafeTensors


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file: `tensor[index]` reads that part alone, as `dtype`.

    It stands for an array wherever one is only indexed, cast or converted: so that
    `sharding.put_tree` gives each device its part of a file and no process holds the whole.
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
        """The same tensor, cast when it is read."""
        return StoredTensor(self.tensors, self.name, np.dtype(dtype))

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.tensors.mapped(self.name)[index].astype(self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[...].astype(dtype or self.dtype, copy=False)
