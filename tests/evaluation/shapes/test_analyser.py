"""The analyser reads true and degraded clips without errors."""

import cv2
import numpy as np
import pytest

from videogen_jax.data.shapes import captions
from videogen_jax.data.shapes import world as shapes
from videogen_jax.evaluation.shapes.analyser import Reading, accuracy, analyse

FIELDS = ("colour", "shape", "motion", "size", "background")
FRAMES = np.arange(shapes.NUM_FRAMES)


@pytest.mark.parametrize("split", shapes.SPLITS)
def test_true_clips_read_without_an_error(split):
    specs = [shapes.clip_spec(split, index) for index in range(5000, 5070)]
    readings = [analyse(shapes.render(spec, FRAMES)) for spec in specs]
    assert accuracy(readings, specs) == dict.fromkeys(FIELDS, 1.0)


@pytest.mark.parametrize("resolution", [48, 128])
def test_other_resolutions_and_frame_counts(resolution):
    specs = [shapes.clip_spec("train", index) for index in range(12)]
    readings = [analyse(shapes.render(s, np.linspace(0, 15, 6), resolution)) for s in specs]
    assert accuracy(readings, specs) == dict.fromkeys(FIELDS, 1.0)


def test_blur_and_noise_cost_little():
    rng = np.random.default_rng(0)
    specs = [shapes.clip_spec("validation", index) for index in range(40)]

    def blurred(spec: shapes.ClipSpec) -> np.ndarray:
        frames = [cv2.GaussianBlur(f, (0, 0), 1.4) for f in shapes.render(spec, FRAMES)]
        noisy = np.stack(frames) + rng.normal(0, 12, (16, 64, 64, 3))
        return np.clip(noisy, 0, 255).astype(np.uint8)

    scores = accuracy([analyse(blurred(spec)) for spec in specs], specs)
    assert min(scores.values()) >= 0.95


def test_pale_colours_keep_their_hue():
    spec = shapes.clip_spec("train", 0)
    video = shapes.render(spec, FRAMES).astype(np.float32)
    towards_gray = (0.6 * video + 0.4 * 128).astype(np.uint8)
    assert analyse(towards_gray).colour == spec.colour


def test_still_object_has_no_motion():
    spec = shapes.clip_spec("train", 1)
    still = np.repeat(shapes.render(spec, [3.0]), 16, axis=0)
    assert analyse(still).motion is None
    assert analyse(still).shape == spec.shape
    assert analyse(still[:1]).motion is None


def test_reversed_clip_moves_the_other_way():
    opposite = {
        "left": "right",
        "up": "down",
        "growing": "shrinking",
        "down and left": "up and right",
    }
    for motion, other in opposite.items():
        specs = (shapes.clip_spec("train", index) for index in range(200))
        spec = next(spec for spec in specs if spec.motion == motion)
        assert analyse(shapes.render(spec, FRAMES)[::-1]).motion == other


def test_object_that_appears_late_is_still_read():
    spec = shapes.clip_spec("train", 2)
    video = shapes.render(spec, FRAMES)
    video[:3] = video[0, 0, 0] if spec.start[0] > 32 else video[0, 0, -1]
    reading = analyse(video)
    assert (reading.shape, reading.motion) == (spec.shape, spec.motion)


def test_empty_and_random_videos():
    plain = np.full((4, 64, 64, 3), shapes.BACKGROUNDS["navy"], np.uint8)
    assert analyse(plain) == Reading(None, None, None, None, "navy")
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    assert isinstance(analyse(noise), Reading)


def test_accuracy_counts_each_field():
    spec = shapes.clip_spec("train", 0)
    right = Reading(spec.colour, spec.shape, spec.motion, spec.size, spec.background)
    wrong = Reading(None, spec.shape, None, spec.size, "none")
    assert accuracy([right, wrong], [spec, spec]) == {
        "colour": 0.5,
        "shape": 1.0,
        "motion": 0.5,
        "size": 1.0,
        "background": 0.5,
    }
    with pytest.raises(ValueError, match="as many"):
        accuracy([right], [])


def test_accuracy_leaves_out_what_a_caption_does_not_name():
    read = Reading("red", "circle", "left", "small", "black")
    named = Reading(**captions.parse("a red square moving left"))
    blank = Reading(None, None, None, None, None)
    shares = accuracy([read, read], [named, blank])
    assert (shares["colour"], shares["shape"], shares["motion"]) == (1.0, 0.0, 1.0)
    assert np.isnan(shares["size"]) and np.isnan(shares["background"])


@pytest.mark.parametrize(
    "video",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 64, 32, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
    ],
)
def test_bad_input(video):
    with pytest.raises(ValueError, match="need"):
        analyse(video)
