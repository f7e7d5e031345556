"""Measures of shapes clips: true clips are consistent, spoilt ones are not."""

import dataclasses
import math

import numpy as np
import pytest

from videogen_jax.data.shapes import world as shapes
from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.shapes.measures import (
    NUM_FEATURES,
    Steadiness,
    features,
    flicker,
    roughness,
    steadiness,
)

FRAMES = np.arange(shapes.NUM_FRAMES)
SPECS = [shapes.clip_spec("held_out", index) for index in range(60)]


def render(**changes) -> np.ndarray:
    return shapes.render(dataclasses.replace(SPECS[0], **changes), FRAMES)


def test_true_clips_are_steady_and_do_not_flicker():
    for spec in SPECS:
        video = shapes.render(spec, FRAMES)
        assert steadiness(video, spec.motion) == Steadiness(True, True, True), spec
        assert flicker(video) == 0.0


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"shape": "star"}, (True, False, True)),
        ({"colour": "cyan"}, (False, True, True)),
        ({"radius": 12.5}, (True, True, False)),
    ],
)
def test_what_changes_half_way_is_not_kept(change, kept):
    same = {"shape": "circle", "colour": "red", "radius": 10.0, "motion": "left", "travel": 28.0}
    clip = render(**same)
    clip[8:] = render(**same | change)[8:]
    if "shape" in change:  # has the same area and therefore the same size
        clip[8:] = render(**same | change | {"radius": 10.0 * math.sqrt(math.pi / 1.47)})[8:]
    assert steadiness(clip, "left") == Steadiness(*kept)


def test_an_object_that_vanishes_or_does_not_grow_is_not_steady():
    clip = render()
    vanished = np.concatenate([clip[:8], np.full_like(clip[8:], 20)])
    assert steadiness(vanished, SPECS[0].motion) == Steadiness(False, False, False)
    still = np.repeat(clip[:1], 16, axis=0)
    assert steadiness(still, "left").size
    assert not steadiness(still, "growing").size
    with pytest.raises(ValueError, match="8 frames or more"):
        steadiness(clip[:7], "left")


def test_flicker_is_that_of_the_background_alone():
    clip = render(colour="red", background="gray")
    other = clip.copy()
    other[::2] += 3  # every second frame is three levels brighter
    assert flicker(other) == pytest.approx(3.0, abs=0.05)
    assert math.isnan(flicker(clip[:1]))


def test_roughness_distinguishes_steady_from_stuttering_motion():
    steady = np.arange(0, 60, 4, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    assert roughness(steady) == 0.0
    # With every frame twice, half of the changes are 0 and each second difference is a full change.
    assert roughness(steady.repeat(2, axis=0)) == pytest.approx(2.0, abs=0.1)


def test_roughness_of_a_still_clip_is_zero():
    assert roughness(np.zeros((4, 2, 2, 3), np.uint8)) == 0.0


def test_features_distinguish_true_clips_from_spoilt_ones():
    clips = [shapes.render(spec, FRAMES) for spec in SPECS]
    true, others = (np.stack([features(c) for c in half]) for half in (clips[:30], clips[30:]))
    assert true.shape == (30, NUM_FEATURES)
    still = np.stack([features(np.repeat(clip[:1], 16, axis=0)) for clip in clips[30:]])
    assert frechet_distance(true, others) < frechet_distance(true, still)
    without = features(np.full((16, 64, 64, 3), 128, np.uint8))
    assert np.isfinite(without).all() and (without[-5:] == 0).all()
