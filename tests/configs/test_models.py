"""The model presets: their real sizes, as shapes only, and that their parts fit together."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

import videogen_jax
from tests.support import tiny_model
from videogen_jax import trees
from videogen_jax.configs import MODELS
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.shapes import SHAPES
from videogen_jax.configs.small import SMALL
from videogen_jax.configs.tiny import TINY
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.components import component_shapes
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.pipeline.conditioning import network_input, reference_video, upsample
from videogen_jax.pipeline.temporal_sr import flow_midpoints

# Tracing takes up to half a minute. That of parameters is quick for only one model: the one with
# three stages of the most layers.
MODELS_BY_SHAPE = pytest.mark.parametrize(
    "model",
    [
        model if model is PAPER else pytest.param(model, marks=pytest.mark.slow)
        for model in (PAPER, SMALL, SHAPES)
    ],
    ids=lambda model: model.name,
)
# Parameters that a video model adds to the image model.
ADDED = r".*temporal_.*|low_res_noise_embedding/.*"

SHIPPED_BYTES = 30_000_000  # limit of the shipped model's size, at 2 bytes per parameter


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def chain(model, params, tokens_BT):
    """Evaluates each network once, from tokens to pixels, as in sampling.

    A UNet with the sizes of an earlier one is not traced again for its clip of another resolution:
    `ModelConfig` refuses resolutions that its levels do not divide.
    """

    def apply(network, name, *args, **kwargs):
        return network.apply({"params": params[name]}, *args, **kwargs)

    factor, z = model.autoencoder.factor, model.autoencoder.latent_channels
    batch, time, sizes = tokens_BT.shape[0], jnp.zeros(tokens_BT.shape[0]), []
    text = apply(TextEncoder(model.text_encoder), "text_encoder", tokens_BT)
    autoencoder = Autoencoder(model.autoencoder)
    traced = {}  # the parameters of the UNets, by configuration

    def denoise(denoiser, name, frames, reference=None, low_res=None):
        size = denoiser.resolution // factor
        noisy = jnp.zeros((batch, frames, size, size, z))
        conditions = {"pooled_BD": text.pooled_BD, "fps_B": time, "low_res_noise_B": time}
        x = network_input(noisy, reference, low_res)
        sizes.append(size)
        unet, like = denoiser.unet, jax.tree.map(jnp.shape, params[name])
        if unet in traced:
            assert traced[unet] == like and x.shape[-1] == unet.in_channels
            return noisy
        output = apply(SpaceTimeUNet(unet), name, x, time, text.states_BTD, **conditions)
        assert output.shape == noisy.shape
        traced[unet] = like
        return output

    image = denoise(model.image, "image_unet", 1)
    picture = apply(autoencoder, "autoencoder", image[:, 0], method="decode")
    latents = None
    for number, stage in enumerate(model.stages, start=1):
        shape = (batch, stage.resolution, stage.resolution, 3)
        pixels = jax.image.resize(picture, shape, "linear")
        reference = apply(autoencoder, "autoencoder", pixels, method="encode").mean
        reference = reference_video(reference, model.num_frames)
        below = None if latents is None else upsample(latents)
        latents = denoise(stage, f"stage_{number}", model.num_frames, reference, below)
    warped = flow_midpoints(model.flow, params["flow"], latents)
    denoise(model.refiner, "refiner", model.num_frames - 1, jnp.zeros_like(warped), warped)
    return sizes, apply(VideoDecoder(model.autoencoder), "video_decoder", latents)


def test_models_are_listed_by_their_names():
    assert {name: model.name for name, model in MODELS.items()} == {name: name for name in MODELS}
    assert videogen_jax.MODELS is MODELS
    with pytest.raises(AttributeError, match="'videogen_jax' has no attribute 'MODEL'"):
        videogen_jax.MODEL  # noqa: B018


class Shapes(dict):
    """The shapes of each model's components by its name, traced when they are first needed."""

    def __missing__(self, name):
        self[name] = component_shapes(MODELS[name])
        return self[name]


@pytest.fixture(scope="module")
def shapes():
    return Shapes()


@pytest.mark.slow  # the pipeline's tests run the whole tiny model; `.ci/run` has that of paper
@pytest.mark.parametrize("model", [PAPER, SMALL, SHAPES], ids=lambda model: model.name)
def test_the_parts_fit_together_at_their_real_sizes(model, shapes):
    sizes = []

    def run(params, tokens_BT):
        found, video = chain(model, params, tokens_BT)
        sizes.extend(found)
        return video

    tokens_BT = jax.ShapeDtypeStruct((2, model.text_encoder.max_length), jnp.int32)
    video = jax.eval_shape(run, shapes[model.name], tokens_BT)
    last = model.stages[-1].resolution
    assert video.shape == (2, model.num_frames, last, last, 3)
    expected = [part.resolution for part in (model.image, *model.stages, model.refiner)]
    assert sizes == [resolution // model.autoencoder.factor for resolution in expected]


@MODELS_BY_SHAPE
def test_trees_nest_from_the_image_model_to_the_last_stage(model, shapes):
    """Names and shapes agree; only the first convolution grows, in its input channels."""
    stages = [f"stage_{number}" for number in range(1, len(model.stages) + 1)]
    parts = [shapes[model.name][name] for name in ("image_unet", *stages, "refiner")]
    for index, (smaller, larger) in enumerate(zip(parts, parts[1:], strict=False)):
        found = trees.differences(smaller, larger)
        assert not found.missing
        assert all(re.fullmatch(ADDED, path) for path in found.unexpected)
        assert bool(found.misshaped) == (index < 2)  # stage 1 adds reference, stage 2 low-res
        assert set(found.misshaped) <= {"conv_in/kernel"}
        for before, after in found.misshaped.values():
            assert before[:2] == after[:2] and before[2] < after[2] and before[3] == after[3]


def test_the_papers_is_stable_diffusion(shapes):
    counts = {name: count(tree) for name, tree in shapes["paper"].items()}
    assert counts["text_encoder"] == 123_060_480
    assert counts["image_unet"] == 859_520_964
    assert counts["autoencoder"] == 83_653_863
    # With the temporal layers; the later stages have the weights of four more input channels.
    assert counts["stage_1"] == 1_064_667_256
    assert counts["stage_2"] == counts["stage_1"] + 3 * 3 * 4 * 320
    assert counts["stage_3"] == counts["stage_2"] == counts["refiner"]
    assert counts["video_decoder"] == 67_166_005


def test_the_papers_latents_are_16_32_and_64_pixels():
    assert [PAPER.latent_size(stage.resolution) for stage in PAPER.stages] == [16, 32, 64]
    assert PAPER.num_frames == 16 and PAPER.autoencoder.scaling_factor == 0.18215
    assert not any(stage.low_res_noise or stage.unet.low_res_noise for stage in PAPER.stages)


@pytest.mark.slow  # it traces every model
def test_models_are_of_the_size_they_are_meant_for(shapes):
    total = {name: count(shapes[name]) for name in MODELS}
    assert 2 * total[SHAPES.name] <= SHIPPED_BYTES
    assert total[TINY.name] < total[SHAPES.name] < total[SMALL.name] < total[PAPER.name]


@pytest.mark.parametrize("model", [SHAPES, TINY], ids=lambda model: model.name)
def test_text_encoders_of_shapes_have_the_tokenizers_vocabulary(model):
    config = model.text_encoder
    tokens = tiny_model.TOKENIZER(["a red circle", ""], config.max_length)
    assert tokens.max() == config.eos_token_id == config.vocab_size - 1
