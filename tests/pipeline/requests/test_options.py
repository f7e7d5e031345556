"""The list of sampling options, and the keywords that set them."""

import dataclasses
import inspect

import pytest

from videogen_jax import ImageOptions, VideoGen, VideoOptions
from videogen_jax.pipeline.requests.options import SamplingOptions
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
    assert message == "there is no option 'temporal_str'"
    assert listed.split(", ")[0] == "temporal_sr"
    assert sorted(listed.split(", ")) == sorted(names(VideoOptions))


@pytest.mark.parametrize("options", [ImageOptions(), {"seed": 1}])
def test_options_of_another_class_are_refused(options):
    with pytest.raises(TypeError, match=rf"options is a {type(options).__name__}, expected Video"):
        VideoOptions.merge(options, {})


@pytest.mark.parametrize(
    ("call", "options", "own"),
    [
        (VideoGen.__call__, VideoOptions, ["self", "prompt", "reference", "progress", "options"]),
        (
            TextToImage.__call__,
            ImageOptions,
            ["self", "prompt", "latents", "as_float", "progress", "options"],
        ),
    ],
)
def test_the_signature_shows_every_option_with_its_default(call, options, own):
    parameters = inspect.signature(call).parameters
    assert list(parameters) == [*own, *names(options)]
    for field in dataclasses.fields(options):
        assert parameters[field.name].default == field.default


def test_every_option_is_described_once():
    for options in (SamplingOptions, VideoOptions, ImageOptions):
        for name in options.__annotations__:
            assert (options.__doc__ or "").count(f"        {name}: ") == 1, name
