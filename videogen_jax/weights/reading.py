"""One network's weights from its source to our parameters, with a record of what became of them."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from videogen_jax.trees import Tree, flatten
from videogen_jax.weights.files import Tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.rules import assign, fill
from videogen_jax.weights.sources import ComponentSource


@dataclass(frozen=True)
class ComponentReport:
    """What became of one network's weights.

    Attributes:
        file: Where they come from.
        tensors, parameters: Written, counted as arrays and as numbers.
        source_dtypes, written_dtypes: How many tensors of each type were read and written.
        copied: Our path -> the name in the source.
        ignored: Source names that carry no weights of the network, all on a declared list.
        created: Our paths that the source does not give.
    """

    file: str
    tensors: int
    parameters: int
    source_dtypes: Mapping[str, int]
    written_dtypes: Mapping[str, int]
    copied: Mapping[str, str]
    ignored: tuple[str, ...]
    created: tuple[str, ...] = ()

    def summary(self) -> str:
        """Two lines or more for people."""
        lines = [
            f"{self.tensors} tensors, {self.parameters:,} parameters of {self.file}",
            f"read {_counts(self.source_dtypes)}; wrote {_counts(self.written_dtypes)}; "
            f"{len(self.copied)} copied, {len(self.ignored)} ignored, {len(self.created)} created",
        ]
        if self.ignored:
            lines.append(f"ignored: {', '.join(self.ignored)}")
        return "\n  ".join(lines)


def read_component(
    source: ComponentSource, expected: Tree, dtype: DType | None
) -> tuple[dict[str, Any], ComponentReport]:
    """Reads a network, one tensor at a time; the parameters returned are the only copy of all.

    Args:
        source: The network's weights.
        expected: Nested dict of leaves with a `shape`: the network's parameters.
        dtype: Of the parameters; None keeps the source's.

    Raises:
        ValueError: The weights do not fit (every name that is unexpected, missing, given twice or
            of the wrong shape), or are not finite; names the file.
    """
    reader = _Reader(source, dtype)
    assignment = assign(source.table, reader, expected)
    params = fill(assignment, reader, expected, name=source.name)
    reader.check_finite()
    arrays = flatten(params)
    report = ComponentReport(
        file=source.name,
        tensors=len(arrays),
        parameters=sum(array.size for array in arrays.values()),
        source_dtypes=dict(Counter(reader.dtypes.values())),
        written_dtypes=dict(Counter(array.dtype.name for array in arrays.values())),
        copied={path: key for path, (key, _) in sorted(assignment.filled.items())},
        ignored=assignment.ignored,
    )
    return params, report


def mapping_lines(report: ComponentReport) -> list[str]:
    """What was copied, one line for each parameter: "source name -> our path"."""
    return [f"  {key} -> {path}" for path, key in report.copied.items()]


def to_json(report: ComponentReport) -> dict[str, Any]:
    """The report as plain dicts and lists."""
    return dataclasses.asdict(report)


class _Reader(Tensors):
    """Casts what is read, and notes its type and whether it is finite."""

    def __init__(self, source: ComponentSource, dtype: DType | None) -> None:
        self._tensors, self._name, self._dtype = source.tensors, source.name, dtype
        self.dtypes: dict[str, str] = {}
        self._infinite: dict[str, str] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._tensors[name]
        self.dtypes[name] = array.dtype.name
        if not jnp.issubdtype(array.dtype, jnp.floating):
            return array
        if not np.isfinite(array).all():
            self._infinite[name] = "NaN or infinity"
        elif self._dtype is not None:
            with np.errstate(over="ignore"):  # an overflow is reported with all others
                array = array.astype(self._dtype, copy=False)
            if not np.isfinite(array).all():
                self._infinite[name] = f"values that {self._dtype} cannot hold"
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors.shape(name)

    def check_finite(self) -> None:
        """Raises ValueError that names every tensor read so far that is not finite."""
        if self._infinite:
            lines = [f"{name} has {what}" for name, what in self._infinite.items()]
            raise ValueError(
                "\n  ".join([f"{self._name} has weights that are not finite:", *lines])
            )


def _counts(dtypes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(dtypes.items()))
