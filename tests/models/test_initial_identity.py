"""The video networks of every preset equal its image networks at initialisation (docs/design.md).

Widths are replaced by the smallest that the networks take; levels, blocks, attention and conditions
are the presets'. The networks run operation by operation: compiled, XLA may add in another order.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from videogen_jax import trees
from videogen_jax.configs import MODELS
from videogen_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.models.video_decoder import VideoDecoder

CLIPS, FRAMES, TOKENS, WIDTH = 1, 2, 3, 4
DENOISERS = {
    f"{name} {part}": (model.image.unet, denoiser.unet)
    for name, model in MODELS.items()
    for part, denoiser in [
        *((f"stage {i}", stage) for i, stage in enumerate(model.stages, start=1)),
        ("refiner", model.refiner),
    ]
}


def narrow(config: UNetConfig) -> UNetConfig:
    levels = len(config.block_out_channels)
    return dataclasses.replace(
        config,
        block_out_channels=(WIDTH,) * levels,
        num_heads=(2,) * levels,
        cross_attention_dim=WIDTH,
        norm_groups=2,
    )


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


@functools.cache
def difference(image: UNetConfig, video: UNetConfig) -> tuple[float, float]:
    """Returns the largest difference of the new video network, and the largest value."""
    size = 2 ** (len(image.block_out_channels) - 1)
    x = normal(CLIPS, FRAMES, size, size, image.in_channels)
    inputs = {
        "timesteps_B": np.array([700]),
        "text_BTD": normal(CLIPS, TOKENS, WIDTH),
        "pooled_BD": normal(CLIPS, WIDTH),
        "fps_B": np.array([24.0], np.float32),
        "low_res_noise_B": np.array([50]),
    }
    shapes = jax.eval_shape(SpaceTimeUNet(image).init, tiny_model.key(), x, **inputs)
    found, variables = SpaceTimeUNet(video).init_with_output(tiny_model.key(), x, **inputs)
    expected = SpaceTimeUNet(image).apply(part(variables, shapes), x, **inputs)
    assert found.shape == expected.shape == x.shape
    return float(jnp.abs(found - expected).max()), float(jnp.abs(expected).max())


def part(variables: Any, shapes: Any) -> Any:
    """Returns the parameters that are in a tree of shapes too."""
    leaves = trees.flatten(variables)
    return trees.unflatten({path: leaves[path] for path in trees.paths(shapes)})


@pytest.mark.slow  # up to 40 seconds each; test_unet.py and test_warm_start.py have others
@pytest.mark.parametrize("name", DENOISERS)
def test_a_stage_or_refiner_starts_as_the_image_model_bit_for_bit(name):
    """With the image model's input channels; `test_unet.py` has further ones."""
    image, video = map(narrow, DENOISERS[name])
    found, largest = difference(image, dataclasses.replace(video, in_channels=image.in_channels))
    assert found == 0 and largest > 0.1


@functools.cache
def decoder_difference(config: AutoencoderConfig) -> tuple[float, float]:
    z = normal(CLIPS, FRAMES, 2, 2, config.latent_channels)
    decode = functools.partial(Autoencoder(config).init, method="decode")
    shapes = jax.eval_shape(decode, tiny_model.key(), fold_frames(z))
    found, variables = VideoDecoder(config).init_with_output(tiny_model.key(), z)
    image = part(variables, shapes)
    expected = unfold_frames(Autoencoder(config).apply(image, fold_frames(z), method="decode"), 2)
    return float(jnp.abs(found - expected).max()), float(jnp.abs(expected).max())


@pytest.mark.parametrize(
    "name",
    [
        # Has the levels of `small`, and takes three times as long as `tiny`.
        pytest.param(name, marks=pytest.mark.slow) if name == "paper" else name
        for name in MODELS
    ],
)
def test_a_video_decoder_starts_as_the_image_decoder_bit_for_bit(name):
    config = MODELS[name].autoencoder
    widths = (WIDTH,) * len(config.block_out_channels)
    narrowed = dataclasses.replace(config, block_out_channels=widths, norm_groups=2)
    found, largest = decoder_difference(narrowed)
    assert found == 0 and largest > 0.1
