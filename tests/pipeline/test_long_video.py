"""Videos of several clips."""

from typing import Any

import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import UserError, VideoGen

RED, BLUE = "a red circle", "a blue ring"
# The image decoder does not depend on windows, so clips can be compared.
ROUNDING = 1  # levels of 255: 1e-6 from the order of sums may change rounding
SHORT: Any = {"stages": 1, "decoder": "image", "seed": 3}


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture(scope="module")
def two_clips(model) -> np.ndarray:
    return model.long([RED, BLUE], **SHORT).read().frames


def test_a_clip_begins_with_the_last_frame_of_the_one_before(model, two_clips):
    """It is what a call makes of that frame as the reference, without its own first frame."""
    first = model(RED, **SHORT).frames
    assert two_clips.shape == (7, 8, 8, 3)
    # The decoder has more frames at a time than in one clip.
    assert np.abs(two_clips[:4].astype(int) - first).max() <= ROUNDING
    unused = np.zeros((8, 8, 3), np.uint8)
    second = model([RED, BLUE], reference=[unused, first[-1]], **SHORT)[1].frames
    assert np.abs(two_clips[4:].astype(int) - second[1:]).max() <= ROUNDING


def test_prompts_are_spread_over_the_clips(model, two_clips):
    stream = model.long([RED, BLUE], clips=4, **SHORT)
    assert (stream.num_frames, stream.size, stream.fps) == (13, (8, 8), 8.0)
    frames = list(stream)
    assert len(frames) == 13
    assert np.abs(np.stack(frames[:4]).astype(int) - two_clips[:4]).max() <= ROUNDING
    assert (np.stack(frames[4:7]) != two_clips[4:]).mean() > 0.1  # the second clip is RED too


def test_a_list_of_seeds_has_one_for_each_clip(model, two_clips):
    options = SHORT | {"seed": [3, 9]}
    other = model.long([RED, BLUE], **options).read().frames
    np.testing.assert_array_equal(other[:4], two_clips[:4])
    assert (other[4:] != two_clips[4:]).mean() > 0.1


def test_temporal_super_resolution_runs_over_the_seams(model):
    stream = model.long(RED, clips=2, refine=False, decoder="image")
    assert (stream.num_frames, stream.fps) == (13, 16.0)
    frames = stream.read().frames
    assert frames.shape == (13, 16, 16, 3)
    coarse = model.long(RED, clips=2, temporal_sr=0, decoder="image").read().frames
    assert np.abs(frames[::2].astype(int) - coarse).max() <= ROUNDING  # old frames stay


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 0}, "clips is 0, expected an integer from 1"),
        ({"prompt": [RED] * 3, "clips": 2}, "there are 3 prompts for 2 clips"),
        ({"num_frames": 1, "temporal_sr": 0}, "num_frames is 1, expected at least 2"),
        ({"use_reference": False}, "use_reference is False, but clips are joined by references"),
        ({"clips": 2, "seed": [1, 2, 3]}, "seed has 3 values for 2 prompts"),
    ],
)
def test_bad_input_is_refused_before_any_work(model, options, message):
    with pytest.raises(UserError, match=message):
        model.long(**{"prompt": RED, **options})


def test_components_that_are_missing_are_named(model):
    part = VideoGen(model.config, {}, micro_model.TOKENIZER)
    with pytest.raises(FileNotFoundError, match="no text_encoder.safetensors"):
        part.long(RED, clips=2)
