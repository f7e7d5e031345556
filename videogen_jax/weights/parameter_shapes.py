"""Shapes of the parameters of Stable Diffusion's networks, found without running them."""

from videogen_jax.models import parameters
from videogen_jax.trees import Tree
from videogen_jax.weights.stable_diffusion.sources import Component, StableDiffusionConfigs


def parameter_shapes(component: Component, configs: StableDiffusionConfigs) -> Tree:
    """Returns a network's parameters as nested dict of `jax.ShapeDtypeStruct`."""
    match component:
        case "text_encoder":
            return parameters.shapes(parameters.init_text_encoder, configs.text_encoder)
        case "image_unet":
            width = configs.unet.cross_attention_dim
            return parameters.shapes(parameters.init_unet, configs.unet, width)
        case "autoencoder":
            return parameters.shapes(parameters.init_autoencoder, configs.autoencoder)
