"""Tables of weight names as data, and import and export by them.

A `Table` describes the names and layouts of another library's weights. It is a list of `Rule`s,
each with the source name, our path and the `Transform` between the two layouts. In both names,
`{name}` stands for an index (digits): a rule works in both directions, and one table serves import
and export.

Both directions are strict: every key and every parameter must be matched exactly once, with the
right shape. All problems are collected and raised as one error.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.trees import Tree, flatten, unflatten

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transform:
    """A change of memory layout and its inverse.

    Attributes:
        ranks: Allowed numbers of axes of the source array.
        to_target: Maps (source array, expected shape) to our layout; the result may have another
            shape, which the caller checks.
        to_source: Maps our array to the source's layout.
    """

    ranks: tuple[int, ...]
    to_target: Callable[[np.ndarray, Shape], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]


def _pointwise_to_target(array: np.ndarray, shape: Shape) -> np.ndarray:
    ours = _oi_last(array)
    fits = ours.size == math.prod(shape) and ours.shape[-2:] == shape[-2:]
    return ours.reshape(shape) if fits else ours


def _oi_last(array: np.ndarray) -> np.ndarray:
    return array.transpose(*range(2, array.ndim), 1, 0)


def _oi_first(array: np.ndarray) -> np.ndarray:
    return array.transpose(array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))


VECTOR = Transform((1,), lambda array, _: array, lambda array: array)
EMBEDDING = Transform((2,), lambda array, _: array, lambda array: array)
LINEAR = Transform((2,), lambda array, _: array.T, lambda array: array.T)
CONV = Transform((4,), lambda array, _: _oi_last(array), _oi_first)
"""Kernels OIHW (torch) to HWIO."""
POINTWISE = Transform((2, 4), _pointwise_to_target, _oi_first)
"""From a 1×1 convolution or a linear layer to either of them; export keeps our kind of layer."""


@dataclass(frozen=True)
class Rule:
    """A rule for one parameter, or one per index.

    Attributes:
        source: Name in the source.
        target: Our path.
        transform: Change of layout.
        part: (index, count) for a source array that consists of several parameters, such as a fused
            projection: this one is piece `index` of `count` equal pieces along the first axis.

    Raises:
        ValueError: `source` and `target` do not have the same placeholders.
    """

    source: str
    target: str
    transform: Transform
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if sorted(_PLACEHOLDER.findall(self.source)) != sorted(_PLACEHOLDER.findall(self.target)):
            raise ValueError(f"rule {self.source!r} -> {self.target!r}: placeholders differ")

    def target_of(self, key: str) -> str | None:
        """Returns our path of a source name, or None if the rule does not match it."""
        return _translate(self.source, self.target, key)

    def source_of(self, path: str) -> str | None:
        """Returns the source name of our path, or None if the rule does not match it."""
        return _translate(self.target, self.source, path)


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _translate(pattern: str, other: str, name: str) -> str | None:
    match = _regex(pattern).fullmatch(name)
    return other.format(**match.groupdict()) if match else None


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(_PLACEHOLDER.sub(r"(?P<\1>\\d+)", pattern.replace(".", r"\.")))


@dataclass(frozen=True)
class Table:
    """All rules of a network.

    Attributes:
        rules: Rules; two may match the same name only if they take different parts of it.
        aliases: (old, new) substrings of source names, replaced before matching, for alternative
            spellings. Export writes the new ones.
        ignored: Source names (after aliases) without weights, such as constant buffers.
    """

    rules: tuple[Rule, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    def targets_of(self, key: str) -> list[tuple[Rule, str]]:
        """Returns the rules that match a source name, with our paths; there should be one."""
        name = self.canonical(key)
        found = ((rule, rule.target_of(name)) for rule in self.rules)
        return [(rule, path) for rule, path in found if path is not None]

    def sources_of(self, path: str) -> list[tuple[Rule, str]]:
        """Returns the rules that match our path, with the source names; there should be one."""
        found = ((rule, rule.source_of(path)) for rule in self.rules)
        return [(rule, key) for rule, key in found if key is not None]

    def canonical(self, key: str) -> str:
        """Returns the source name in the spelling of the rules."""
        for old, new in self.aliases:
            key = key.replace(old, new)
        return key


def import_weights(
    table: Table, source: Mapping[str, np.ndarray], expected: Tree, *, name: str
) -> dict[str, Any]:
    """Converts another library's weights to our parameters.

    Arrays are taken from `source` one at a time and keep their dtype.

    Args:
        table: The rules.
        source: Weights by name; a weight may be read from disk when accessed.
        expected: Nested dict of leaves with a `shape`, as from `jax.eval_shape(module.init, ...)`.
        name: Name of the weights (a file), for the error message.

    Returns:
        Nested dict of numpy arrays with exactly the paths and shapes of `expected`.

    Raises:
        UserError: Names every source key without a rule, with several rules or without a parameter,
            every parameter that is not filled or filled twice, and every wrong shape.
    """
    return fill(assign(table, source, expected), source, expected, name=name)


def fill(
    assignment: "Assignment",
    source: Mapping[str, np.ndarray],
    expected: Tree,
    *,
    name: str,
    finish: Callable[[str, str, np.ndarray], np.ndarray] = lambda path, key, array: array,
) -> dict[str, Any]:
    """Converts weights by an assignment of `source` to `expected`, see `import_weights`.

    `finish` is called with (our path, source key, array in our layout) and returns the array to
    keep.
    """
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(expected).items()}
    params, misshaped = {}, {}
    for path, (key, rule) in assignment.filled.items():
        array, transform, (index, count) = source[key], rule.transform, rule.part
        fits = array.ndim in transform.ranks and array.shape[0] % count == 0
        ours = array
        if fits:
            ours = transform.to_target(np.split(array, count)[index], shapes[path])
        if fits and ours.shape == shapes[path]:
            params[path] = np.ascontiguousarray(finish(path, key, ours))
        else:
            wanted = transform.to_source(np.broadcast_to(np.float32(0), shapes[path])).shape
            wanted = (wanted[0] * count, *wanted[1:])
            misshaped[key] = f"  ! {key} has shape {array.shape}, expected {wanted}"
    if problems := [*assignment.problems, *misshaped.values()]:
        raise UserError("\n".join([f"{name} does not fit the configuration:", *problems]))
    return unflatten(params)


def export_weights(table: Table, params: Tree) -> dict[str, np.ndarray]:
    """Converts our parameters to another library's: the inverse of `import_weights`.

    Args:
        table: The table of `import_weights`.
        params: Nested dict of arrays.

    Returns:
        Contiguous arrays by source name.

    Raises:
        UserError: Names every parameter without a rule, with several rules, or with the same source
            name as another.
    """
    parts = _by_source(table, params)
    del params  # an array is freed once it is copied, unless the caller keeps a reference
    exported = {}
    for key in list(parts):
        arrays = parts.pop(key)
        exported[key] = _joined([arrays[part] for part in sorted(arrays)])
    return exported


def _by_source(table: Table, params: Tree) -> dict[str, dict[tuple[int, int], np.ndarray]]:
    """Returns views of the arrays in the source's layout, by source name and part."""
    parts: dict[str, dict[tuple[int, int], np.ndarray]] = {}
    problems = []
    for path, leaf in flatten(params).items():
        match table.sources_of(path):
            case [(rule, key)] if rule.part in parts.get(key, {}):
                problems.append(f"  + {path} is not the only one with the name {key}")
            case [(rule, key)]:
                array = rule.transform.to_source(np.asarray(leaf))
                parts.setdefault(key, {})[rule.part] = array
            case []:
                problems.append(f"  + no rule takes {path}")
            case several:
                problems.append(f"  + {path} is taken by {_names(several)}")
    for key, arrays in parts.items():
        if not _are_whole(arrays):
            problems.append(f"  - {key} lacks some of its parts")
    if problems:
        raise UserError("\n".join(["parameters that have no name to export by:", *problems]))
    return parts


@dataclass(frozen=True)
class Assignment:
    """A mapping of source keys to our paths.

    Attributes:
        filled: Our path -> the source key that fills it, and the rule.
        ignored: Source keys that the table ignores.
        problems: Sorted lines, one per key or path without a match or with several.
    """

    filled: Mapping[str, tuple[str, Rule]]
    ignored: tuple[str, ...]
    problems: tuple[str, ...]


def assign(table: Table, keys: Iterable[str], expected: Tree) -> Assignment:
    """Matches source keys with the paths of `expected`, without reading any weight."""
    shapes = flatten(expected)
    filled: dict[str, tuple[str, Rule]] = {}
    ignored, problems = [], []
    for key in keys:
        if table.canonical(key) in table.ignored:
            ignored.append(key)
            continue
        matches = table.targets_of(key)
        if len(matches) > 1 and not _are_whole([rule.part for rule, _ in matches]):
            problems.append(f"  + {key} goes to {_names(matches)}")
            continue
        if not matches:
            problems.append(f"  + unexpected {key}")
        for rule, path in matches:
            if path in filled:
                problems.append(f"  + {key} and {filled[path][0]} are the same parameter, {path}")
            elif path in shapes:
                filled[path] = (key, rule)
            else:
                problems.append(f"  + unexpected {key}")
    for path in shapes.keys() - filled.keys():
        sources = _names(table.sources_of(path)) or "which no rule gives"
        problems.append(f"  - missing {path}, {sources}")
    return Assignment(filled, tuple(ignored), tuple(sorted(set(problems))))


def _are_whole(parts: Iterable[tuple[int, int]]) -> bool:
    """Returns True if these are all parts of one array, each once."""
    found = sorted(parts)
    return found == [(index, len(found)) for index in range(len(found))]


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _names(matches: list[tuple[Rule, str]]) -> str:
    return " and ".join(name for _, name in matches)
