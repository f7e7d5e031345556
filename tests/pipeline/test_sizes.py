"""Videos and images whose height and width are not the model's resolution."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import UserError
from videogen_jax.configs.paper import PAPER
from videogen_jax.pipeline.requests.image import make_image_request
from videogen_jax.pipeline.requests.sizes import video_sizes
from videogen_jax.pipeline.requests.video import make_request

PROMPT = "a red circle"
REFERENCE = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
SHORT = {"stages": 1, "reference": REFERENCE, "decoder": "image"}  # one stage to compile


def test_by_default_every_part_has_its_resolution():
    assert make_request(PAPER, PROMPT).sizes == ((512,) * 2, (128,) * 2, (256,) * 2, (512,) * 2)
    assert make_request(PAPER, PROMPT, stages=1).sizes == ((512, 512), (128, 128))


def test_each_stage_has_half_of_the_next_and_the_image_has_the_aspect_ratio():
    wide = make_request(PAPER, PROMPT, height=256, width=768)
    assert wide.sizes == ((256, 768), (64, 192), (128, 384), (256, 768))
    assert make_request(PAPER, PROMPT, stages=1, width=256).sizes == ((512, 1024), (128, 256))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 500}, "height is 500, expected a multiple of 256, such as 256 or 512"),
        ({"width": 100}, "width is 100, expected a multiple of 256, such as 256: "),
        ({"width": 100, "stages": 1}, "a multiple of 64, such as 64 or 128"),
        ({"height": 0}, "height is 0, expected an integer from 1"),
        ({"height": 512.0}, "height is 512.0, expected an integer"),
        ({"fit": "squeeze"}, "fit is 'squeeze', expected one of crop, pad, stretch"),
    ],
)
def test_a_size_that_the_networks_cannot_have_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_request(PAPER, PROMPT, **options)


def test_the_refiner_also_limits_the_size():
    """Here it has three levels more than the stages."""
    deep = replace(
        MICRO.refiner.unet,
        block_out_channels=(16,) * 4,
        attention_levels=(False,) * 4,
        num_heads=(2,) * 4,
    )
    model = replace(MICRO, refiner=replace(MICRO.refiner, unet=deep))
    assert video_sizes(model, 2, 0, 20, None)[-1] == (20, 16)
    with pytest.raises(UserError, match="height is 20, expected a multiple of 16"):
        video_sizes(model, 2, 1, 20, None)


def test_an_image_request_checks_its_size():
    assert make_image_request(MICRO, PROMPT, height=8, width=20).size == (8, 20)
    with pytest.raises(UserError, match="height is 13, expected a multiple of 2, such as 12 or 14"):
        make_image_request(MICRO, PROMPT, height=13)
    with pytest.raises(UserError, match=r"float32 \[1, 4, 10, 4\]"):
        make_image_request(MICRO, PROMPT, height=8, width=20, latents=np.zeros((1, 8, 8, 4)))


def test_a_wide_video_depends_on_the_whole_reference():
    model = micro_model.model()
    wide = model(PROMPT, height=8, width=16, **SHORT)
    assert wide.reference is not None
    assert wide.frames.shape == (4, 8, 16, 3) and wide.reference.shape == (16, 32, 3)
    other = REFERENCE.copy()
    other[:, :4] = 0
    changed = model(PROMPT, height=8, width=16, **{**SHORT, "reference": other})
    assert (changed.frames != wide.frames).mean() > 0.1
    cropped = model(PROMPT, **SHORT)
    np.testing.assert_array_equal(
        cropped.frames, model(PROMPT, **{**SHORT, "reference": other}).frames
    )  # the crop to a square has not the part that differs


@pytest.mark.slow  # compiles every part for another size
def test_every_part_runs_at_another_size():
    model = micro_model.model()
    video = model(PROMPT, height=16, width=24)
    assert video.frames.shape == (7, 16, 24, 3) and video.frames.std() > 10
    assert model.images(PROMPT, height=16, width=24).shape == (1, 16, 24, 3)
