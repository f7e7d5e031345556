"""Images through the public class: options, errors, and that no video component is needed."""

import dataclasses
from typing import Any, get_args

import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import ImageOptions, VideoGen
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.pipeline.requests.image import make_image_request

PROMPT = "a red circle"
LATENTS = np.random.default_rng(0).standard_normal((1, 8, 8, 4), np.float32)


@pytest.fixture(scope="module")
def model() -> VideoGen:
    """A model with only the text-to-image components."""
    names = ("text_encoder", "image_unet", "autoencoder")
    return VideoGen(
        micro_model.MICRO,
        {name: micro_model.params()[name] for name in names},
        micro_model.TOKENIZER,
    )


@pytest.fixture(scope="module")
def picture(model) -> np.ndarray:
    return model.images(PROMPT)


def test_a_prompt_becomes_an_image(model, picture):
    assert picture.shape == (1, 16, 16, 3) and picture.dtype == np.uint8
    assert picture.std() > 10
    np.testing.assert_array_equal(model.images([PROMPT]), picture)
    assert (model.images(PROMPT, seed=1) != picture).mean() > 0.1


def test_it_is_the_reference_image_of_the_video(picture):
    video = micro_model.model()(PROMPT, stages=1, decoder="image")
    np.testing.assert_array_equal(video.reference, picture[0])


def test_images_as_floats(model, picture):
    floats = model.images(PROMPT, as_float=True)
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
    np.testing.assert_array_equal((floats * 255).round(), picture)


def test_options_may_come_as_one_object(model, picture):
    options = ImageOptions(seed=1, steps=2)
    given = model.images(PROMPT, options=options, seed=0)
    np.testing.assert_array_equal(given, model.images(PROMPT, steps=2))
    assert (given != picture).mean() > 0.1
    with pytest.raises(TypeError, match="no option 'fps', expected one of .*seed"):
        model.images(PROMPT, fps=8)


def test_start_latents_take_the_place_of_the_seed(model, picture):
    one, other = (model.images(PROMPT, latents=LATENTS, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert (one != picture).mean() > 0.1


@pytest.mark.parametrize("prompt", ["", "🙂", "红色的圆", "a naïve çircle"])
def test_empty_and_non_ascii_prompts(model, picture, prompt):
    drawn = model.images(prompt)
    assert drawn.std() > 10 and (drawn != picture).mean() > 0.05


def test_a_prompt_that_is_too_long_is_cut_with_a_warning(model):
    prompt = "a red circle " * 10
    with pytest.warns(
        UserWarning, match="caption cut to 24 tokens; lost: 'red circle a red circle a"
    ):
        cut = model.images(prompt)
    fits = "a red circle " * 7 + "a"
    np.testing.assert_array_equal(cut, model.images(fits))


def test_only_the_first_sampler_that_draws_noise_compiles_again(model, picture):
    model.images(PROMPT, sampler="ddpm")
    with micro_model.counting_compilations() as compilations:
        images = [model.images(PROMPT, sampler=name) for name in get_args(SamplerName)]
        model.images("a ring", seed=2, steps=5, guidance=1.5, negative_prompt="a star")
    assert not compilations
    assert all((one != picture).any() for one in images if one is not images[1])
    np.testing.assert_array_equal(images[1], picture)  # the model's own, ddim


def test_a_guidance_rescale_compiles_once_and_changes_the_image(model):
    options = {"guidance": 30.0, "as_float": True, "steps": 1}
    plain = model.images(PROMPT, **options)
    half = model.images(PROMPT, guidance_rescale=0.5, **options)
    with micro_model.counting_compilations() as compilations:
        whole = model.images(PROMPT, guidance_rescale=1.0, **options)
    assert not compilations
    assert 0 < np.abs(half - plain).max() < np.abs(whole - plain).max()


def test_the_progress_bar_changes_nothing(model, picture, capfd):
    np.testing.assert_array_equal(model.images(PROMPT, progress=True), picture)
    assert any(
        "text to image" in line and "3/3" in line for line in capfd.readouterr().err.split("\r")
    )


def test_a_missing_component_is_named(model):
    params = {name: model.params[name] for name in ("text_encoder", "autoencoder")}
    part = VideoGen(micro_model.MICRO, params, micro_model.TOKENIZER)
    with pytest.raises(FileNotFoundError) as caught:
        part.images(PROMPT)
    assert str(caught.value) == (
        "the parameters: there is no image_unet.safetensors, which text to image needs"
    )


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "the list of prompts is empty"),
        ([PROMPT, 3], {}, "prompt is 3, expected a string"),
        (PROMPT, {"seed": -1}, "seed is -1, expected an integer from 0"),
        (PROMPT, {"steps": 0}, "steps is 0, expected an integer from 1 to 1000"),
        (PROMPT, {"steps": 1001}, "steps is 1001, expected an integer from 1 to 1000"),
        (PROMPT, {"steps": (3,)}, r"steps is \(3,\), expected an integer from 1"),
        (PROMPT, {"guidance": float("inf")}, "guidance is inf"),
        (PROMPT, {"guidance": (1.0,)}, r"guidance is \(1.0,\), expected a finite number"),
        (PROMPT, {"sampler": "plms"}, "sampler is 'plms', expected one of .*'dpmpp_2m'"),
        ([PROMPT] * 2, {"latents": LATENTS}, r"float32 \[1, 8, 8, 4\], .* float32 \[2, 8, 8, 4\]"),
        (PROMPT, {"latents": LATENTS.astype(np.float64)}, r"latents are float64 \[1, 8, 8, 4\]"),
        (PROMPT, {"latents": LATENTS * np.nan}, "expected finite numbers"),
    ],
)
def test_bad_input_is_named(model, prompt, options: dict[str, Any], message):
    with pytest.raises(ValueError, match=message):
        model.images(prompt, **options)


def sampler_of(image_sampler: SamplerConfig, sampler: Any) -> SamplerConfig:
    image = dataclasses.replace(micro_model.MICRO.image, sampler=image_sampler)
    config = dataclasses.replace(micro_model.MICRO, image=image)
    return make_image_request(config, PROMPT, sampler=sampler).sampler


def test_another_sampler_has_its_usual_grid_and_keeps_a_trailing_one():
    own = SamplerConfig("ddim", 5, "leading", steps_offset=1, eta=0.5)
    assert sampler_of(own, None) == sampler_of(own, "ddim") == own
    assert sampler_of(own, "euler") == SamplerConfig("euler", 5, "linspace", steps_offset=1)
    assert sampler_of(own, "ddpm") == SamplerConfig("ddpm", 5, "leading", steps_offset=1)
    trailing = SamplerConfig("euler", 5, "trailing")
    assert sampler_of(trailing, "dpmpp_2m") == SamplerConfig("dpmpp_2m", 5, "trailing")
    given = SamplerConfig("ddpm", 7, "linspace")
    assert sampler_of(own, given) == given


def test_each_prompt_has_its_own_negative_prompt(model):
    def negative(*texts: str) -> np.ndarray:
        request = make_image_request(
            micro_model.MICRO, [PROMPT] * len(texts), negative_prompt=list(texts)
        )
        return np.asarray(model.images.encode(request).prompts.negative.states_BTD)

    both = negative("a ring", "", "a ring")
    np.testing.assert_array_equal(both[0], both[2])
    np.testing.assert_allclose(both[:2], negative("a ring", "")[:2], rtol=1e-5, atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 0.1


@pytest.mark.parametrize("name", ["progress", "as_float"])
def test_a_switch_is_true_or_false(model, name):
    with pytest.raises(TypeError, match=f"{name} is 'no', expected True or False"):
        model.images(PROMPT, **{name: "no"})
