"""Conversion of one network's weights from their source to our parameters, with a report."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.trees import Tree, flatten
from videogen_jax.weights.files import Tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.rules import assign, fill
from videogen_jax.weights.stable_diffusion.lora import Lora
from videogen_jax.weights.stable_diffusion.sources import Component, ComponentSource


@dataclass(frozen=True)
class MergedLora:
    """The changes of a LoRA file to one network.

    Attributes:
        file: The LoRA file.
        scale: Factor of its pairs.
        layers: Our path of each changed tensor -> the layer's name in the file.
    """

    file: str
    scale: float
    layers: Mapping[str, str]


@dataclass(frozen=True)
class ComponentReport:
    """Report of the conversion of one network's weights.

    Attributes:
        file: The source.
        tensors, parameters: Numbers of written arrays and of their elements.
        source_dtypes, written_dtypes: Numbers of read and written tensors by type.
        copied: Our path -> the name in the source.
        ignored: Source names without weights of the network, all on a declared list.
        created: Our paths that are not in the source.
        loras: The merged LoRA files.
    """

    file: str
    tensors: int
    parameters: int
    source_dtypes: Mapping[str, int]
    written_dtypes: Mapping[str, int]
    copied: Mapping[str, str]
    ignored: tuple[str, ...]
    created: tuple[str, ...] = ()
    loras: tuple[MergedLora, ...] = ()

    def summary(self) -> str:
        """Summarises the report in two or more lines."""
        lines = [
            f"{self.tensors} tensors, {self.parameters:,} parameters of {self.file}",
            f"read {_counts(self.source_dtypes)}; wrote {_counts(self.written_dtypes)}; "
            f"{len(self.copied)} copied, {len(self.ignored)} ignored, {len(self.created)} created",
        ]
        if self.ignored:
            lines.append(f"ignored: {', '.join(self.ignored)}")
        for lora in self.loras:
            lines.append(f"merged {lora.scale:g} × {lora.file} into {len(lora.layers)} tensors")
        return "\n  ".join(lines)


def read_component(
    name: Component,
    source: ComponentSource,
    expected: Tree,
    dtype: DType | None,
    loras: Sequence[Lora] = (),
) -> tuple[dict[str, Any], ComponentReport]:
    """Reads a network, one tensor at a time: only the returned parameters are in memory as a whole.

    Args:
        name: The network.
        source: Its weights.
        expected: Nested dict of leaves with a `shape`: the network's parameters.
        dtype: Type of the parameters; None keeps the source's.
        loras: LoRA files to merge, in float32, before the change of dtype.

    Raises:
        UserError: The weights do not fit (lists every name that is unexpected, missing, repeated or
            of the wrong shape), or are not finite; names the file.
    """
    reader = _Reader(name, source, dtype, loras)
    assignment = assign(source.table, reader, expected)
    params = fill(assignment, reader, expected, name=source.name, finish=reader.finish)
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
        loras=tuple(
            MergedLora(lora.file, lora.scale, lora.layers[name])
            for lora in loras
            if name in lora.layers
        ),
    )
    return params, report


def mapping_lines(source: ComponentSource, params: Tree, report: ComponentReport) -> list[str]:
    """Lists the copied and merged weights: "source name (shape) -> our path (shape)"."""
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}
    lines = [
        f"  {key} {source.tensors.shape(key)} -> {path} {shapes[path]}"
        for path, key in report.copied.items()
    ]
    for lora in report.loras:
        lines += [
            f"  {lora.scale:g} × {lora.file}: {layer} -> {path} {shapes[path]}"
            for path, layer in lora.layers.items()
        ]
    return lines


def to_json(report: ComponentReport) -> dict[str, Any]:
    """Converts a report to plain dicts and lists."""
    return dataclasses.asdict(report)


class _Reader(Tensors):
    """Tensors of a source that records the types and the non-finite values that are read."""

    def __init__(
        self,
        name: Component,
        source: ComponentSource,
        dtype: DType | None,
        loras: Sequence[Lora],
    ) -> None:
        self._tensors, self._file, self._dtype = source.tensors, source.name, dtype
        self._component: Component = name
        self._loras = loras
        self.dtypes: dict[str, str] = {}
        self._infinite: dict[str, str] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._tensors[name]
        self.dtypes[name] = array.dtype.name
        if _is_floating(array) and not np.isfinite(array).all():
            self._infinite[name] = "NaN or infinity"
        if array.dtype.itemsize == 1 and _is_floating(array):
            return array.astype(np.float16)  # exact, and a type that every reader knows
        return array

    def finish(self, path: str, key: str, array: np.ndarray) -> np.ndarray:
        """Merges LoRA files into an array in our layout, and casts it to the type on disk."""
        if not _is_floating(array):
            return array
        dtype = self._dtype or array.dtype
        for lora in self._loras:
            delta = lora.delta(self._component, path)
            if delta is not None:
                array = array + delta  # in float32 or wider
        with np.errstate(over="ignore"):  # an overflow is reported by check_finite
            array = array.astype(dtype, copy=False)
        if not np.isfinite(array).all():
            self._infinite.setdefault(key, f"values that {array.dtype} cannot represent")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors.shape(name)

    def check_finite(self) -> None:
        """Raises a UserError that names every non-finite tensor read so far."""
        if self._infinite:
            lines = [f"{name} has {what}" for name, what in self._infinite.items()]
            raise UserError("\n  ".join([f"{self._file} has weights that are not finite:", *lines]))


def _is_floating(array: np.ndarray) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _counts(dtypes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(dtypes.items()))
