"""Arguments of a call: defaults of the model, and one clear message for invalid values."""

import math
from dataclasses import replace
from typing import Any

import pytest

from videogen_jax.configs.shapes import SHAPES
from videogen_jax.configs.tiny import TINY
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.pipeline.requests.image import make_image_request
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import Request, make_request


def test_defaults_are_those_of_the_model():
    request = make_request(SHAPES, "a red circle")
    assert request.prompts == ("a red circle",)
    assert (request.num_frames, request.fps, request.stages) == (16, 8.0, 2)
    assert request.steps == (30, 30, 12, 8)
    assert request.guidance == (3.0, 3.0, 1.0)
    assert (request.final_num_frames, request.final_fps) == (31, 16.0)


def test_one_number_is_for_all_parts():
    request = make_request(SHAPES, ["a", "b"], steps=5, guidance=2.0)
    assert request.steps == (5, 5, 5, 5)
    assert request.guidance == (2.0, 2.0, 2.0)


def test_each_part_may_have_its_own():
    request = make_request(SHAPES, "a", steps=(4, 3, 2, 1), guidance=[1, 2, 3])
    assert (request.steps, request.guidance) == ((4, 3, 2, 1), (1, 2, 3))


def test_the_guidance_rescale_is_for_the_image_model_and_every_stage():
    request = make_request(SHAPES, "a", guidance_rescale=0.7)
    assert [request.sampling(part).get("guidance_rescale") for part in range(3)] == [0.7] * 3
    assert make_request(SHAPES, "a").sampling(1).get("guidance_rescale") == 0.0


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), None, "0.7"])
def test_a_guidance_rescale_is_from_0_to_1(value):
    for make in (make_request, make_image_request):
        with pytest.raises(ValueError, match=f"guidance_rescale is {value!r}, expected a number"):
            make(SHAPES, "a", guidance_rescale=value)


def test_frames_and_fps_after_each_round():
    request = make_request(SHAPES, "a", temporal_sr=3, fps=8, num_frames=16)
    assert (request.final_num_frames, request.final_fps) == (121, 64)


def test_fewer_stages_leave_temporal_super_resolution_out():
    assert make_request(SHAPES, "a", stages=1).rounds == 0


def test_keywords_take_precedence_over_options():
    options = VideoOptions(seed=3, steps=5)
    request = make_request(SHAPES, "a", options, steps=4, decoder="image")
    assert request.options == VideoOptions(seed=3, steps=4, decoder="image")
    assert request.steps == (4, 4, 4, 4)


def samplers_of(own: SamplerConfig, **options: Any) -> Request:
    parts = {name: replace(getattr(SHAPES, name), sampler=own) for name in ("image", "refiner")}
    stages = tuple(replace(stage, sampler=own) for stage in SHAPES.stages)
    return make_request(replace(SHAPES, stages=stages, **parts), "a", **options)


def test_a_sampler_is_for_all_parts_each_on_its_usual_grid():
    own = SamplerConfig("ddim", 7, "leading", eta=0.5)
    assert samplers_of(own).samplers == samplers_of(own, sampler="ddim").samplers == (own,) * 4
    request = samplers_of(own, sampler="euler")
    assert request.samplers == (SamplerConfig("euler", 7, "linspace"),) * 4
    assert request.steps == (7, 7, 7, 7)
    trailing = samplers_of(SamplerConfig("ddim", 7, "trailing"), sampler="dpmpp_2m")
    assert trailing.samplers == (SamplerConfig("dpmpp_2m", 7, "trailing"),) * 4
    custom = SamplerConfig("ddpm", 9, "linspace")
    assert samplers_of(own, sampler=custom).samplers == (custom,) * 4
    assert samplers_of(own, sampler=custom).steps == (9, 9, 9, 9)
    assert samplers_of(own, sampler=custom, steps=2).steps == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": []}, "the list of prompts is empty"),
        ({"prompt": ["a", 3]}, "prompt is 3, expected a string"),
        ({"num_frames": 0}, "num_frames is 0, expected an integer of at least 1"),
        ({"num_frames": -16}, "num_frames is -16, expected an integer of at least 1"),
        ({"num_frames": 2.5}, "num_frames is 2.5, expected an integer"),
        ({"num_frames": 1}, "num_frames is 1, expected at least 2 with temporal_sr"),
        ({"guidance": math.nan}, "guidance is nan, expected a finite number"),
        ({"guidance": (1.0, math.inf, 1.0, 1.0)}, "guidance is inf, expected a finite number"),
        ({"guidance": (1.0, 1.0)}, "guidance has 2 values, expected one, or 4: for the image"),
        ({"steps": 0}, "steps is 0, expected an integer of at least 1"),
        ({"steps": (1, 2, 3, 4, -5)}, "steps is -5, expected an integer of at least 1"),
        ({"steps": (1, 2, 3, 4)}, "steps has 4 values, expected one, or 5: for the image model"),
        ({"steps": 2000}, "cannot take 2000 steps of 1000 timesteps"),
        ({"stages": 0}, "stages is 0, expected an integer from 1 to 3"),
        ({"stages": 4}, "stages is 4, expected an integer from 1 to 3"),
        ({"temporal_sr": -1}, "temporal_sr is -1, expected an integer of at least 0"),
        (
            {"temporal_sr": 1, "stages": 2},
            "temporal_sr is 1 but stages is 2: expected 0, because it needs the latents of stage 3",
        ),
        ({"fps": 0}, "fps is 0, expected a number from 0.01"),
        ({"fps": -8.0}, "fps is -8.0, expected a number from 0.01"),
        ({"fps": math.nan}, "fps is nan, expected a number from 0.01"),
        ({"fps": 300, "temporal_sr": 2}, "fps is 300, which temporal_sr=2 makes 1200"),
        ({"seed": -1}, "seed is -1, expected an integer from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296, expected an integer from 0"),
        ({"interpolation": "linear"}, "interpolation is 'linear', expected one of flow, slerp"),
        ({"sampler": "plms"}, "sampler is 'plms', expected one of ('ddpm', 'ddim', 'dpmpp_2m'"),
        ({"sampler": "euler", "steps": 1001}, "euler with 'linspace' spacing"),
        ({"decoder": "none"}, "decoder is 'none', expected one of video, image"),
    ],
)
def test_bad_input_is_one_clear_message(options, message):
    with pytest.raises(ValueError) as caught:
        make_request(TINY, **({"prompt": "a"} | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
