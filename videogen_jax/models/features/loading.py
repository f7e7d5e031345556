"""Loading of the networks of metrics and losses, which are components of a model directory."""

import os
from functools import partial
from pathlib import Path

from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.parameters import Params, init_flow, init_lpips, shapes

LPIPS_COMPONENT = "lpips"
PIXEL_FLOW_COMPONENT = "pixel_flow"


def load_lpips(model_dir: str | os.PathLike[str]) -> Params:
    """Loads the float32 parameters for `lpips` that `convert_lpips` wrote.

    Raises:
        MissingFile: The directory has no `lpips`.
        UserError: A file is damaged, or the parameters do not fit their configuration.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.configured import load_configured

    directory = Path(model_dir)
    shapes_of = partial(shapes, init_lpips)
    return load_configured(directory, LPIPS_COMPONENT, LPIPSConfig, shapes_of)[1]


def load_pixel_flow(model_dir: str | os.PathLike[str]) -> tuple[FlowConfig, Params]:
    """Loads the configuration and the float32 parameters that `convert_ifrnet` wrote.

    Raises:
        MissingFile: The directory has no `pixel_flow`.
        UserError: A file is damaged, or the two do not fit together.
    """
    from videogen_jax.weights.configured import load_configured

    shapes_of = partial(shapes, init_flow)
    return load_configured(Path(model_dir), PIXEL_FLOW_COMPONENT, FlowConfig, shapes_of)


def pixel_flow_shapes(model_dir: str | os.PathLike[str]) -> tuple[FlowConfig, Params]:
    """Returns what `load_pixel_flow` does with shapes in place of parameters, which are not read.

    Raises:
        MissingFile: The directory has no `pixel_flow`.
        UserError: Its configuration is damaged.
    """
    from videogen_jax.weights.configured import load_configuration

    config = load_configuration(Path(model_dir), PIXEL_FLOW_COMPONENT, FlowConfig)
    return config, shapes(init_flow, config)
