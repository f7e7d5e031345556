"""Arguments of a call: defaults of the model, and one clear message for invalid values."""

import math
import tracemalloc
from dataclasses import replace
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax.configs.shapes import SHAPES
from videogen_jax.configs.tiny import TINY
from videogen_jax.diffusion.sampler_config import SamplerConfig, TimestepSpacing
from videogen_jax.diffusion.samplers import plan
from videogen_jax.errors import UserError, WrongType
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


INTERVAL = "expected two noise levels, the lower one first, such as (0.28, 5.42)"


@pytest.mark.parametrize("value", [(5.0, 1.0), (1, 1), (-1.0, 2.0), (1, math.inf), (math.nan, 2)])
def test_a_guidance_interval_has_a_lower_and_a_higher_level(value):
    for make in (make_request, make_image_request):
        with pytest.raises(UserError) as caught:
            make(SHAPES, "a", guidance_interval=value)
        assert str(caught.value) == f"guidance_interval is {value!r}, {INTERVAL}"


@pytest.mark.parametrize("value", [1.0, "1 2", (1.0,), (1.0, "2"), (True, 2), (1, 2, 3)])
def test_a_guidance_interval_is_two_numbers(value):
    with pytest.raises(WrongType) as caught:
        make_request(SHAPES, "a", guidance_interval=value)
    assert str(caught.value) == f"guidance_interval is {value!r}, {INTERVAL}"


def test_options_of_guidance_are_for_the_image_model_and_every_stage():
    given: Any = {"guidance_interval": np.array([0.25, 5.0]), "guidance_passes": "in_turn"}
    request = make_request(SHAPES, "a", **given)
    for part in range(3):
        sampling = request.sampling(part)
        assert sampling.get("guidance_interval") == (0.25, 5.0)
        assert sampling.get("guidance_passes") == "in_turn"


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
        ({"num_frames": 0}, "num_frames is 0, expected an integer from 1 to 100000"),
        ({"num_frames": -16}, "num_frames is -16, expected an integer from 1 to 100000"),
        ({"num_frames": 2.5}, "num_frames is 2.5, expected an integer"),
        ({"num_frames": 1}, "num_frames is 1, expected at least 2 with temporal_sr"),
        ({"guidance": math.nan}, "guidance is nan, expected a finite number"),
        ({"guidance": (1.0, math.inf, 1.0, 1.0)}, "guidance is inf, expected a finite number"),
        ({"guidance": (1.0, 1.0)}, "guidance has 2 values, expected one, or 4: for the image"),
        ({"steps": 0}, "steps is 0, expected an integer from 1 to 1000"),
        ({"steps": (1, 2, 3, 4, -5)}, "steps is -5, expected an integer from 1 to 1000"),
        ({"steps": (1, 2, 3, 4)}, "steps has 4 values, expected one, or 5: for the image model"),
        ({"steps": 1001}, "steps is 1001, expected an integer from 1 to 1000"),
        ({"steps": 10**9}, "steps is 1000000000, expected an integer from 1 to 1000"),
        ({"sampler": "dpmpp_2m", "steps": 1000}, "cannot take 1000 steps of 1000 timesteps"),
        ({"sampler": SamplerConfig("ddim", 10**9)}, "steps is 1000000000, expected an integer"),
        ({"num_frames": 10**9}, "num_frames is 1000000000, expected an integer from 1 to 100000"),
        ({"num_frames": 90_000, "temporal_sr": 1}, "which temporal_sr=1 makes 179999"),
        ({"temporal_sr": 10**9}, "temporal_sr is 1000000000, expected an integer from 0 to 16"),
        ({"stages": 0}, "stages is 0, expected an integer from 1 to 3"),
        ({"stages": 4}, "stages is 4, expected an integer from 1 to 3"),
        ({"temporal_sr": -1}, "temporal_sr is -1, expected an integer from 0 to 16"),
        (
            {"temporal_sr": 1, "stages": 2},
            "temporal_sr is 1 but stages is 2: expected 0, because it needs the latents of stage 3",
        ),
        ({"refine_strength": 0}, "refine_strength is 0, expected a number above 0 and at most 1"),
        ({"refine_strength": 1.1}, "refine_strength is 1.1, expected a number above 0"),
        ({"fps": 0}, "fps is 0, expected a number from 0.01"),
        ({"fps": -8.0}, "fps is -8.0, expected a number from 0.01"),
        ({"fps": math.nan}, "fps is nan, expected a number from 0.01"),
        ({"fps": 300, "temporal_sr": 2}, "fps is 300, which temporal_sr=2 makes 1200"),
        ({"seed": -1}, "seed is -1, expected an integer from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296, expected an integer from 0"),
        ({"interpolation": "linear"}, "interpolation is 'linear', expected one of flow, slerp"),
        ({"sampler": "plms"}, "sampler is 'plms', expected one of ('ddpm', 'ddim', 'dpmpp_2m'"),
        ({"negative_prompt": ["a", "b"]}, "negative_prompt has 2 texts for 1 prompts"),
        ({"prompt": "caf\udce9"}, "prompt is 'caf\\udce9', which is not UTF-8 text"),
        ({"negative_prompt": "\udcff"}, "negative_prompt is '\\udcff', which is not UTF-8 text"),
        ({"decoder": "none"}, "decoder is 'none', expected one of video, image"),
        ({"guidance_passes": "both"}, "guidance_passes is 'both', expected one of together, in_tu"),
    ],
)
def test_bad_input_is_one_clear_message(options, message):
    with pytest.raises(ValueError) as caught:
        make_request(TINY, **({"prompt": "a"} | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": True}, "steps is True, expected an integer from 1 to 1000"),
        ({"steps": "30"}, "steps is '30', expected an integer"),
        ({"steps": (1, 2, 3, 4, False)}, "steps is False, expected an integer"),
        ({"steps": 8.0}, "steps is 8.0, expected an integer"),
        ({"steps": {"image": 3}}, "steps is {'image': 3}, expected an integer"),
        ({"seed": True}, "seed is True, expected an integer"),
        ({"seed": "7"}, "seed is '7', expected an integer"),
        ({"seed": np.bool_(True)}, "seed is True, expected an integer"),
        ({"num_frames": "16"}, "num_frames is '16', expected an integer"),
        ({"stages": True}, "stages is True, expected an integer"),
        ({"temporal_sr": False}, "temporal_sr is False, expected an integer"),
        ({"fps": "8"}, "fps is '8', expected a number"),
        ({"fps": True}, "fps is True, expected a number"),
        ({"guidance": "3"}, "guidance is '3', expected a finite number"),
        ({"guidance": True}, "guidance is True, expected a finite number"),
        ({"refine": "no"}, "refine is 'no', expected True or False"),
        ({"refine": 0}, "refine is 0, expected True or False"),
        ({"refine_strength": "1"}, "refine_strength is '1', expected a number above 0"),
        ({"use_reference": "false"}, "use_reference is 'false', expected True or False"),
        ({"use_reference": None}, "use_reference is None, expected True or False"),
        ({"negative_prompt": 3}, "negative_prompt is 3, expected a string"),
        ({"negative_prompt": [3]}, "negative_prompt is 3, expected a string"),
        ({"prompt": None}, "prompt is None, expected a string"),
        ({"prompt": b"a"}, "prompt is b'a', expected a string"),
    ],
)
def test_a_wrong_type_is_a_type_error_with_one_message(options, message):
    with pytest.raises(TypeError) as caught:
        make_request(TINY, **({"prompt": "a"} | options))
    assert isinstance(caught.value, UserError)
    assert message in str(caught.value)


def test_numpy_values_are_pythons():
    request = make_request(
        TINY,
        np.array(["a", "b"]),
        seed=np.int64(7),
        fps=np.float32(8),
        steps=np.array([1, 2, 3, 4, 5]),
        guidance=[np.float64(2), 3, np.int8(1), 1.0],
        num_frames=np.uint8(4),
        temporal_sr=np.asarray(1),
        refine=np.bool_(False),
        negative_prompt=np.array(["c", "d"]),
    )
    same = make_request(
        TINY,
        ["a", "b"],
        seed=7,
        fps=8.0,
        steps=(1, 2, 3, 4, 5),
        guidance=(2.0, 3, 1, 1.0),
        num_frames=4,
        temporal_sr=1,
        refine=False,
        negative_prompt=("c", "d"),
    )
    assert request == same
    assert [type(value) for value in (request.options.seed, request.fps)] == [int, float]
    assert make_request(TINY, "a", seed=jnp.uint32(7)).options.seed == 7


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        (None, ("", "")),
        ("c", ("c", "c")),
        (["c", "d"], ("c", "d")),
        (("c", None), ("c", "")),
    ],
)
def test_a_negative_prompt_is_for_all_prompts_or_one_for_each(negative, expected):
    request = make_request(TINY, ["a", "b"], negative_prompt=negative)
    assert request.negative_prompts == expected


def test_too_many_steps_allocate_nothing():
    tracemalloc.start()
    for spacing in get_args(TimestepSpacing):
        with pytest.raises(UserError, match="cannot take 1000000000 steps"):
            plan(TINY.image.schedule, SamplerConfig("ddim", 10**9, spacing))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
