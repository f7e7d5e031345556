"""Conversion of C3D's public weights to the component `c3d` of a model directory (§4).

`c3d` is only used in evaluation. Its configuration is therefore in `c3d.json`.
"""

import zipfile
from pathlib import Path

import numpy as np

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.features.c3d import C3D_UCF101, C3DConfig
from videogen_jax.models.features.loading import C3D_COMPONENT
from videogen_jax.models.parameters import init_c3d, shapes
from videogen_jax.weights.configured import add_configured, require_absent
from videogen_jax.weights.files import ShardedTensors, Tensors, open_tensors
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.numpy_pickles import ArrayDict
from videogen_jax.weights.rules import import_weights
from videogen_jax.weights.tables.c3d import C3D_CHAINER, C3D_TORCH, MEAN

# TGANv2 cuts the mean clip of 128×171 pixels from here on, which is not the middle of its width.
_CORNER = 8


def convert_c3d(
    source: Path,
    mean: Path | None,
    model_dir: Path,
    dtype: DType | None = None,
    config: C3DConfig = C3D_UCF101,
) -> C3DConfig:
    """Adds the component `c3d` to a model directory, which is created if necessary.

    Args:
        source: `conv3d_deepnetA_ucf.npz` of TGANv2, or a state dict of a PyTorch port whose layers
            are named `conv1a` or `conv1` to `fc8`.
        mean: `mean2.npz` of TGANv2, with the mean clip `mean` [3, 16, 128, 171], BGR.
        model_dir: New or existing directory without a `c3d`.
        dtype: Type of the weights on disk; None keeps the source's.
        config: The sizes that the weights must have.

    Returns:
        The network's configuration.

    Raises:
        MissingFile: A file does not exist, or `mean` is None.
        UserError: The weights or the mean clip are not C3D's, a file contains other things than
            arrays (nothing in it is executed), or `model_dir` already has a `c3d` or cannot be
            written.
    """
    require_absent(model_dir, C3D_COMPONENT)
    if mean is None:
        raise MissingFile("C3D needs its mean clip too, the file mean2.npz of TGANv2 (mean)")
    if zipfile.is_zipfile(source) and source.suffix.lower() == ".npz":
        table, weights = C3D_CHAINER, _open_npz(source)
    else:
        table, weights = C3D_TORCH, open_tensors(source)
    clip = ArrayDict({MEAN: _mean_clip(mean, config)})
    if MEAN in weights:
        raise UserError(f"{source} has a {MEAN} of its own, expected weights alone")
    joined = ShardedTensors({**dict.fromkeys(weights, weights), MEAN: clip})
    params = import_weights(table, joined, shapes(init_c3d, config), name=str(source))
    add_configured(model_dir, C3D_COMPONENT, config, params, dtype)
    return config


def _mean_clip(path: Path, config: C3DConfig) -> np.ndarray:
    """Reads the mean clip and cuts it as TGANv2 does, [3, F, size, size] BGR."""
    arrays = _open_npz(path)
    end = _CORNER + config.size
    if MEAN not in arrays:
        raise UserError(f"{path} has {', '.join(arrays) or 'nothing'}, expected {MEAN}")
    shape = arrays.shape(MEAN)
    if len(shape) != 4 or shape[:2] != (3, config.num_frames) or min(shape[2:]) < end:
        raise UserError(
            f"{path}: {MEAN} has shape {shape}, expected (3, {config.num_frames}, {end} or more, "
            f"{end} or more)"
        )
    return arrays[MEAN][:, :, _CORNER:end, _CORNER:end]


def _open_npz(path: Path) -> Tensors:
    """Reads the arrays of a NumPy archive; pickled objects are refused."""
    if not path.is_file():
        raise MissingFile(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive can raise many of them
        raise UserError(f"{path} is not an archive of NumPy arrays, or damaged: {error}") from error
    return ArrayDict(arrays)
