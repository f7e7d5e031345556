"""The list of sampling options, and the keywords that set them."""

import dataclasses
import inspect
import re
from typing import get_type_hints

import pytest

from videogen_jax import (
    ImageOptions,
    InterpolateOptions,
    RestoreOptions,
    VideoGen,
    VideoOptions,
)
from videogen_jax.pipeline.requests.keywords import (
    ImageKeywords,
    InterpolateKeywords,
    RestoreKeywords,
    VideoKeywords,
)
from videogen_jax.pipeline.requests.options import DIFFUSERS_NAMES, SamplingOptions
from videogen_jax.pipeline.text_to_image import TextToImage


def names(options: type[SamplingOptions]) -> list[str]:
    return [field.name for field in dataclasses.fields(options)]


def test_keywords_replace_options_and_keep_the_others():
    assert VideoOptions.merge(None, {}) == VideoOptions()
    options = VideoOptions(seed=3, steps=(1, 2))
    merged = VideoOptions.merge(options, {"steps": 5, "refine": False})
    assert merged == VideoOptions(seed=3, steps=5, refine=False)
    assert options == VideoOptions(seed=3, steps=(1, 2))


def test_an_unknown_name_lists_all_names_the_nearest_first():
    with pytest.raises(TypeError) as caught:
        VideoOptions.merge(None, {"temporal_str": 2})
    message, listed = str(caught.value).split(", expected one of ")
    assert message == "there is no option 'temporal_str', use 'temporal_sr'"
    assert listed.split(", ")[0] == "temporal_sr"
    assert sorted(listed.split(", ")) == sorted(names(VideoOptions))


@pytest.mark.parametrize(
    ("options", "name", "right"),
    [
        (VideoOptions, "num_inference_steps", "'steps'"),
        (VideoOptions, "guidance_scale", "'guidance'"),
        (VideoOptions, "image", "'reference'"),
        (VideoOptions, "refrence", "'reference'"),
        (VideoOptions, "frames", "'num_frames'"),
        (ImageOptions, "num_images_per_prompt", "'prompt', a list with the text several times"),
        (ImageOptions, "negative_promt", "'negative_prompt'"),
        (ImageOptions, "as_floats", "'as_float'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_right_one(options, name, right):
    with pytest.raises(TypeError, match=re.escape(f"no option {name!r}, use {right}, expected")):
        options.merge(None, {name: 1})


# Images are made of an image as in diffusers, so the names are the same.
@pytest.mark.parametrize(
    ("options", "same"), [(VideoOptions, set()), (ImageOptions, {"image", "strength"})]
)
def test_no_name_of_diffusers_is_an_option(options, same):
    assert DIFFUSERS_NAMES.keys() & {*names(options), *options.OTHER_KEYWORDS} == same


@pytest.mark.parametrize("options", [ImageOptions(), {"seed": 1}])
def test_options_of_another_class_are_refused(options):
    with pytest.raises(TypeError, match=rf"options is a {type(options).__name__}, expected Video"):
        VideoOptions.merge(options, {})


OWN = ("self", "prompt", "reference")
LATENTS = ("keep_latents", "start_from", "start_after")


@pytest.mark.parametrize(
    ("call", "options", "own"),
    [
        (VideoGen.__call__, VideoOptions, [*OWN, "progress", *LATENTS, "callback", "options"]),
        (
            TextToImage.__call__,
            ImageOptions,
            [
                *("self", "prompt", "image", "mask", "latents", "as_float", "progress"),
                "callback",
                "options",
            ],
        ),
    ],
)
def test_the_signature_shows_every_option_with_its_default(call, options, own):
    parameters = inspect.signature(call).parameters
    assert list(parameters) == [*own, *names(options)]
    assert sorted(options.OTHER_KEYWORDS) == sorted(own[1:])
    for field in dataclasses.fields(options):
        assert parameters[field.name].default == field.default


@pytest.mark.parametrize(
    ("keywords", "options"),
    [
        (VideoKeywords, VideoOptions),
        (ImageKeywords, ImageOptions),
        (RestoreKeywords, RestoreOptions),
        (InterpolateKeywords, InterpolateOptions),
    ],
)
def test_the_keywords_of_editors_are_the_fields_of_the_options(keywords, options):
    own = {field.name: get_type_hints(options)[field.name] for field in dataclasses.fields(options)}
    assert get_type_hints(keywords) == own
    assert not keywords.__required_keys__


def test_every_option_is_described_once():
    for options in (SamplingOptions, VideoOptions, ImageOptions):
        for name in set(options.__annotations__) & set(names(options)):
            assert (options.__doc__ or "").count(f"        {name}: ") == 1, name
