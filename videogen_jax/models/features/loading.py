"""Loading of the networks of metrics and losses, which are components of a model directory."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.parameters import Params, init_flow, init_lpips, shapes

LPIPS_COMPONENT = "lpips"
PIXEL_FLOW_COMPONENT = "pixel_flow"


class _Network(NamedTuple):
    config: type[Any]  # class of its configuration
    init: Callable[..., Params]  # from `models.parameters`


_NETWORKS: Mapping[str, _Network] = {
    LPIPS_COMPONENT: _Network(LPIPSConfig, init_lpips),
    PIXEL_FLOW_COMPONENT: _Network(FlowConfig, init_flow),
}


def load_network(component: str, model_dir: str | os.PathLike[str]) -> tuple[Any, Params]:
    """Loads the configuration and the float32 parameters of a network that a converter wrote.

    Args:
        component: `LPIPS_COMPONENT` or `PIXEL_FLOW_COMPONENT`.
        model_dir: The directory that the network's converter wrote to.

    Raises:
        MissingFile: The directory has no such component.
        UserError: A file is damaged, or the two do not fit together.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.configured import load_configured

    config, init = _NETWORKS[component]
    return load_configured(Path(model_dir), component, config, partial(shapes, init))


def network_shapes(component: str, model_dir: str | os.PathLike[str]) -> tuple[Any, Params]:
    """Returns what `load_network` does with shapes in place of parameters, which are not read.

    Raises:
        MissingFile: The directory has no configuration of the component.
        UserError: The configuration is damaged.
    """
    from videogen_jax.weights.configured import load_configuration

    config, init = _NETWORKS[component]
    sizes = load_configuration(Path(model_dir), component, config)
    return sizes, shapes(init, sizes)


def load_lpips(model_dir: str | os.PathLike[str]) -> Params:
    """Loads the float32 parameters for `lpips` that `convert_lpips` wrote.

    Raises the errors of `load_network`.
    """
    return load_network(LPIPS_COMPONENT, model_dir)[1]


def load_pixel_flow(model_dir: str | os.PathLike[str]) -> tuple[FlowConfig, Params]:
    """Loads the configuration and the float32 parameters that `convert_ifrnet` wrote.

    Raises the errors of `load_network`.
    """
    return load_network(PIXEL_FLOW_COMPONENT, model_dir)
