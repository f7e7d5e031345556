"""What video networks start from (§3.5): the weights of image networks, everything new the identity.

Every merge is strict (`trees.merge`): a name or shape that is not explained here is an error.
"""

from collections.abc import Mapping

import jax

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.models.components import IMAGE_COMPONENTS, component_shapes, init_leaves
from videogen_jax.models.parameters import Params


def warm_start_unet(params: Params, source: Params) -> tuple[Params, trees.Report]:
    """Everything that `source` has, in `params`; the rest of `params` as initialised.

    New are temporal layers, the low-res noise embedding and, from zero, input channels of the first
    convolution.

    Args:
        params: fresh parameters of a stage or the refiner, or their shapes.
        source: parameters of the image model or of another stage.

    Raises:
        UserError: a name or shape that this does not explain; lists every key.
    """
    return trees.merge(
        params,
        source,
        allow_missing=(r".*temporal_.*|low_res_noise_embedding/.*",),
        grow=("conv_in/kernel",),
    )


def warm_start_video_decoder(params: Params, autoencoder: Params) -> tuple[Params, trees.Report]:
    """The image decoder with fresh temporal layers; the image encoder is not used.

    Args and errors as for `warm_start_unet`.
    """
    return trees.merge(
        params,
        autoencoder,
        allow_missing=(r".*temporal_.*",),
        allow_unused=(r"encoder/.*", r"quant_conv/.*"),
    )


def warm_start_model(
    config: ModelConfig, image_params: Mapping[str, Params], key: jax.Array
) -> tuple[dict[str, Params], dict[str, trees.Report]]:
    """A whole untrained model around the parts of a text-to-image model.

    Stages and refiner are the image UNet, frame by frame, whatever their other conditions; the
    video decoder is the image decoder; the flow is fresh.

    Args:
        config: of the whole model.
        image_params: the `IMAGE_COMPONENTS`.
        key: of what is new and not zero.

    Returns:
        the parameters of every component, and by component what was copied, new and unused; only
        those that were merged have a report.

    Raises:
        UserError: the configuration's video networks are not those of its image networks with
            temporal layers; names the component and lists every key.
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
        # Only what is new is drawn: a fresh copy of everything would double the memory.
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
