"""Conversion of IFRNet checkpoints to the component `pixel_flow` of a model directory (§3.3).

`pixel_flow` is `LatentFlow` on pixels. It is only used in training, for the target flows. Its
configuration is therefore in `pixel_flow.json` instead of `config.json`: a directory may have this
component alone, and a model's configuration has no part that sampling does not use.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.parameters import init_flow, shapes
from videogen_jax.weights.configured import add_configured, require_absent
from videogen_jax.weights.model_dir import DType
from videogen_jax.weights.rules import import_weights
from videogen_jax.weights.tables.ifrnet import IFRNET
from videogen_jax.weights.torch_files import open_pickle

_LEVELS = (1, 2, 3, 4)


def convert_ifrnet(source: Path, model_dir: Path, dtype: DType | None = None) -> FlowConfig:
    """Adds the component `pixel_flow` to a model directory, which is created if necessary.

    Args:
        source: Checkpoint (`.pth`) of IFRNet, IFRNet-S or IFRNet-L, or of another width.
        model_dir: New or existing directory without a `pixel_flow`.
        dtype: Type of the weights on disk; None keeps the source's.

    Returns:
        The network's configuration.

    Raises:
        MissingFile: The checkpoint does not exist.
        UserError: It is not an IFRNet checkpoint or contains other things than tensors (nothing in
            it is executed), or `model_dir` already has a `pixel_flow` or cannot be written.
    """
    require_absent(model_dir, PIXEL_FLOW_COMPONENT)
    weights = open_pickle(source)
    config = ifrnet_config(weights, name=str(source))
    params = import_weights(IFRNET, weights, shapes(init_flow, config), name=str(source))
    add_configured(model_dir, PIXEL_FLOW_COMPONENT, config, params, dtype)
    return config


def ifrnet_config(weights: Mapping[str, np.ndarray], *, name: str) -> FlowConfig:
    """Infers the configuration from the shapes of an IFRNet checkpoint.

    Args:
        weights: The checkpoint's arrays by name.
        name: Name of the checkpoint, for error messages.

    Raises:
        UserError: A weight that determines a size is missing or is not 4D, or the network cannot
            have these sizes.
    """
    by_name = {IFRNET.canonical(key): array.shape for key, array in weights.items()}
    firsts = [f"encoder.pyramid{level}.0.0.weight" for level in _LEVELS]
    side = "decoder1.convblock.1.conv2.0.weight"
    bad = [key for key in (*firsts, side) if len(by_name.get(key, ())) != 4]
    if bad:
        raise UserError(f"{name} is not an IFRNet checkpoint: no convolution {', '.join(bad)}")
    _, channels, stem_kernel, _ = by_name[firsts[0]]
    try:
        return FlowConfig(
            in_channels=channels,
            encoder_channels=tuple(by_name[key][0] for key in firsts),
            side_channels=by_name[side][0],
            stem_kernel=stem_kernel,
        )
    except UserError as error:
        raise UserError(f"{name} is not an IFRNet checkpoint: {error}") from error
