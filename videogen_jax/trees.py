"""Regular expressions over parameter paths, by which parameters are selected.

A path is the keys from the root of a tree to a leaf joined by "/", for example
`down_blocks_0/resnets_1/conv1/kernel`. A pattern selects the paths that it matches in full, as
`re.fullmatch` does, within a time limit (`patterns.py`). In a list of rules the first that matches
wins. A pattern that matches no path at all is an error: it is a typo or a rule for an older model.
Sharding, freezing, learning-rate multipliers, weight decay and partial loading all use this
convention of google-research/big_vision.

Leaves are numpy or JAX arrays or `jax.ShapeDtypeStruct`; trees are nested dicts with string keys
(`match` and `mask` take any pytree, such as an optimizer state).
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from videogen_jax.errors import UserError
from videogen_jax.patterns import Pattern

Tree = Mapping[str, Any]

_NUM_NEAR_MISSES = 3


def paths(tree: Any) -> list[str]:
    """Returns the path of every leaf, in the order of `jax.tree.leaves`."""
    return [_path(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns a nested dict as `{path: leaf}`; the inverse of `unflatten`."""
    return {_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested dict of `{path: leaf}`; the inverse of `flatten`.

    Raises:
        ValueError: a path is both a leaf and a branch ("a" beside "a/b").
    """
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *branches, last = path.split("/")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path!r} lies below another leaf")
        if last in node:
            raise ValueError(f"{path!r} is both a leaf and a branch")
        node[last] = leaf
    return tree


def in_dtype(tree: Any, dtype: DTypeLike) -> Any:
    """Returns the tree with every leaf, an array or a shape, in a dtype."""
    wanted = jnp.dtype(dtype)

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, wanted)
        return leaf.astype(wanted)

    return jax.tree.map(convert, tree)


def match(rules: Sequence[tuple[str, Any]], tree: Any, default: Any) -> Any:
    """Maps every leaf to the value of the first rule whose pattern matches its path in full.

    Args:
        rules: `(pattern, value)` pairs, most specific first.
        tree: any pytree; only its structure is used.
        default: the value of the leaves that no pattern matches.

    Returns:
        a tree of the same structure with the values as leaves.

    Raises:
        UserError: a pattern is not a regular expression, matches no path, or takes too long.
    """
    names = paths(tree)
    _check_patterns([pattern for pattern, _ in rules], names, "the tree")
    compiled = [(Pattern(pattern), value) for pattern, value in rules]
    values = [
        next((value for pattern, value in compiled if pattern.matches(name)), default)
        for name in names
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), values)


def mask(patterns: Sequence[str], tree: Any) -> Any:
    """Returns a tree of bools: True where any pattern matches the path in full.

    Raises the errors of `match`.
    """
    return match([(pattern, True) for pattern in patterns], tree, default=False)


@dataclass(frozen=True)
class Differences:
    """The differences of a tree from the expected one.

    `missing` and `unexpected` are sorted paths; `misshaped` maps a path to (expected, found)
    shapes.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def lines(self) -> list[str]:
        """Returns one line per difference: "-" missing, "+" unexpected, "!" wrong shape."""
        return [
            *(f"  - missing {path}" for path in self.missing),
            *(f"  + unexpected {path}" for path in self.unexpected),
            *(
                f"  ! {path} has shape {found}, expected {expected}"
                for path, (expected, found) in self.misshaped.items()
            ),
        ]


def differences(expected: Tree, found: Tree) -> Differences:
    """Compares two trees of arrays (or shape structs) by path and shape; dtypes may differ."""
    expected_leaves, found_leaves = flatten(expected), flatten(found)
    shared = sorted(expected_leaves.keys() & found_leaves.keys())
    return Differences(
        missing=tuple(sorted(expected_leaves.keys() - found_leaves.keys())),
        unexpected=tuple(sorted(found_leaves.keys() - expected_leaves.keys())),
        misshaped={
            path: (expected_leaves[path].shape, found_leaves[path].shape)
            for path in shared
            if expected_leaves[path].shape != found_leaves[path].shape
        },
    )


@dataclass(frozen=True)
class Report:
    """The result of `merge`, as paths.

    Attributes:
        copied: copied from the source.
        grown: copied from the source into the leading input channels of a larger kernel.
        new: left as initialised.
        unused: in the source only.
    """

    copied: tuple[str, ...]
    grown: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        kinds = {"copied": self.copied, "grown": self.grown, "new": self.new, "unused": self.unused}
        lines = [", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())]
        for kind in ("grown", "new", "unused"):
            lines += [f"  {kind} {line}" for line in _numbers_as_stars(kinds[kind])]
        return "\n".join(lines)


def merge(
    target: Tree,
    source: Tree,
    *,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    grow: Sequence[str] = (),
) -> tuple[dict[str, Any], Report]:
    """Warm-starts `target` from `source` (§3.5), strictly.

    Every target leaf takes the source leaf of the same path and shape, in the target's dtype. A
    difference that no pattern allows is an error. All errors are raised together, as by
    `merge_params` of google-research/big_vision.

    Args:
        target: the initialised parameters.
        source: the parameters to copy.
        allow_missing: patterns of target paths that may stay as they are if absent from the source.
        allow_unused: patterns of source paths that may be left out if absent from the target.
        grow: patterns of kernels `[..., in, out]` that may have more input channels than the
            source: the source is copied into the leading channels, the others are zero. The new
            inputs have no effect until they are trained.

    Returns:
        the merged tree, and the report of what was copied. A leaf whose source is a
        `ShapeDtypeStruct` is a `ShapeDtypeStruct` too: a merge can be planned without arrays.

    Raises:
        UserError: names every missing, unused and misshaped path that no pattern allows, or every
            pattern that matches no path.
    """
    target_leaves, source_leaves = flatten(target), flatten(source)
    _check_patterns([*allow_missing, *grow], target_leaves, "the target")
    _check_patterns(allow_unused, source_leaves, "the source")
    found = differences(target, source)
    grown = {
        path
        for path, (wanted, actual) in found.misshaped.items()
        if _any_match(grow, path) and _only_input_channels_grew(wanted, actual)
    }
    forbidden = Differences(
        missing=tuple(path for path in found.missing if not _any_match(allow_missing, path)),
        unexpected=tuple(path for path in found.unexpected if not _any_match(allow_unused, path)),
        misshaped={path: v for path, v in found.misshaped.items() if path not in grown},
    )
    if lines := forbidden.lines():
        raise UserError("\n".join([f"cannot load {len(lines)} parameters:", *lines]))

    merged = {
        path: _fit(source_leaves[path], leaf) if path in source_leaves else leaf
        for path, leaf in target_leaves.items()
    }
    report = Report(
        copied=tuple(path for path in target_leaves if path in source_leaves and path not in grown),
        grown=tuple(sorted(grown)),
        new=found.missing,
        unused=found.unexpected,
    )
    return unflatten(merged), report


def _path(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _any_match(patterns: Iterable[str], path: str) -> bool:
    return any(Pattern(pattern).matches(path) for pattern in patterns)


def _check_patterns(patterns: Sequence[str], names: Iterable[str], where: str) -> None:
    names = list(names)
    problems = []
    for text in patterns:
        try:
            pattern = Pattern(text)
            if not any(pattern.matches(name) for name in names):
                near = _near_misses(pattern, names)
                problems.append(f"  {text!r}" + (f"; near it: {', '.join(near)}" if near else ""))
        except UserError as error:
            problems.append(f"  {error}")
    if problems:
        raise UserError("\n".join([f"patterns that match no path of {where}:", *problems]))


def _near_misses(pattern: Pattern, names: list[str]) -> list[str]:
    """Returns paths that contain a match (the pattern may lack a `.*`), or similar spellings."""
    partial = [name for name in names if pattern.occurs_in(name)]
    near = partial or difflib.get_close_matches(pattern.text, names, _NUM_NEAR_MISSES, cutoff=0.5)
    return near[:_NUM_NEAR_MISSES]


def _only_input_channels_grew(wanted: tuple[int, ...], actual: tuple[int, ...]) -> bool:
    """Returns True if kernels `[..., in, out]` differ only by more input channels in `wanted`."""
    return (
        len(wanted) == len(actual) >= 2
        and wanted[:-2] == actual[:-2]
        and wanted[-1] == actual[-1]
        and wanted[-2] > actual[-2]
    )


def _fit(value: Any, like: Any) -> Any:
    """Returns `value` in the shape and dtype of `like`: its input channels are zero-padded."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(like.shape, like.dtype)
    if value.shape != like.shape:
        pad_width = [(0, 0)] * value.ndim
        pad_width[-2] = (0, like.shape[-2] - value.shape[-2])
        value = (jnp if isinstance(value, jax.Array) else np).pad(value, pad_width)
    return value.astype(like.dtype)


def _numbers_as_stars(names: Iterable[str]) -> list[str]:
    """Merges paths that differ only in numbers into one line: `blocks_*/conv/kernel (12)`."""
    counts = Counter(re.sub(r"\d+", "*", name) for name in names)
    return [pattern if n == 1 else f"{pattern} ({n})" for pattern, n in sorted(counts.items())]
