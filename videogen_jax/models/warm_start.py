"""Warm starts of video networks from image networks (§3.5); new layers start as the identity.

Every merge is strict (`trees.merge`): a name or shape that is not expected here is an error.
"""

import dataclasses
from collections.abc import Mapping

import jax

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.models.components import IMAGE_COMPONENTS, component_shapes, init_leaves
from videogen_jax.models.parameters import Params


def warm_start_unet(params: Params, source: Params) -> tuple[Params, trees.Report]:
    """Copies all parameters of `source` into `params`; the others stay as initialised.

    The others are temporal layers, the low-res noise embedding, and further input channels of the
    first convolution, which start at zero.

    Args:
        params: fresh parameters of a stage or the refiner, or their shapes.
        source: parameters of the image model or of another stage.

    Raises:
        UserError: any other name or shape differs; lists every such key.
    """
    return trees.merge(
        params,
        source,
        allow_missing=(r".*temporal_.*|low_res_noise_embedding/.*",),
        grow=("conv_in/kernel",),
    )


def warm_start_video_decoder(params: Params, autoencoder: Params) -> tuple[Params, trees.Report]:
    """Copies the image decoder; temporal layers stay as initialised, the image encoder is unused.

    Args and errors as for `warm_start_unet`.
    """
    return trees.merge(
        params,
        autoencoder,
        allow_missing=(r".*temporal_.*",),
        allow_unused=(r"encoder/.*", r"quant_conv/.*"),
    )


def warm_start_flow(params: Params, teacher: Params) -> tuple[Params, trees.Report]:
    """Copies the parameters of a pixel-space IFRNet whose name and shape the latent flow has.

    The paper changes only the first layer (§3.5). Sizes of the latent flow are free here, so any
    other layer may differ too; its parameters stay as initialised.

    Args:
        params: fresh parameters of the latent flow, or their shapes.
        teacher: parameters of the pixel-space IFRNet.

    Raises:
        UserError: no parameter has the same name and shape.
    """
    wanted, found = trees.flatten(params), trees.flatten(teacher)
    same = {
        path: leaf
        for path, leaf in found.items()
        if path in wanted and wanted[path].shape == leaf.shape
    }
    if not same:
        raise UserError(
            "no parameter of the teacher has the name and shape of one of the latent flow: train "
            "with --task.start-from-teacher False, or with the teacher's sizes (model.flow)"
        )
    merged, report = trees.merge(params, trees.unflatten(same), allow_missing=(".*",))
    unused = tuple(sorted(found.keys() - same.keys()))
    return merged, dataclasses.replace(report, unused=unused)


def warm_start_model(
    config: ModelConfig, image_params: Mapping[str, Params], key: jax.Array
) -> tuple[dict[str, Params], dict[str, trees.Report]]:
    """Builds a whole untrained model from the components of a text-to-image model.

    Frame by frame, the stages and the refiner equal the image UNet, whatever their other
    conditions, and the video decoder equals the image decoder. The flow network is newly
    initialised.

    Args:
        config: the whole model's configuration.
        image_params: the `IMAGE_COMPONENTS`.
        key: random key of new parameters that do not start at zero.

    Returns:
        the parameters of every component, and the reports of copied, new and unused parameters of
        the components that were merged.

    Raises:
        UserError: the configuration's video networks are not its image networks with temporal
            layers; names the component and lists every key.
    """
    params = {name: image_params[name] for name in IMAGE_COMPONENTS}
    reports: dict[str, trees.Report] = {}
    for name, shapes in component_shapes(config).items():
        if name in IMAGE_COMPONENTS:
            continue
        merged, new = shapes, tuple(trees.paths(shapes))
        if name != "flow":
            merged, reports[name] = _merged(name, shapes, image_params)
            new = reports[name].new
        # Only new parameters are drawn: initialising all of them would double the memory.
        fresh = init_leaves(config, name, key, new)
        params[name] = trees.unflatten({**trees.flatten(merged), **fresh})
    return params, reports


def _merged(
    name: str, shapes: Params, image_params: Mapping[str, Params]
) -> tuple[Params, trees.Report]:
    try:
        if name == "video_decoder":
            return warm_start_video_decoder(shapes, image_params["autoencoder"])
        return warm_start_unet(shapes, image_params["image_unet"])
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
