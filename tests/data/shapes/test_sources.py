"""The random-access sources of shapes examples."""

import numpy as np
import pytest

from videogen_jax.data.shapes import world as shapes
from videogen_jax.data.shapes.captions import parse
from videogen_jax.data.shapes.sources import (
    ContrastedClips,
    ShapesClips,
    ShapesHighFps,
    ShapesImages,
)


def assert_same(first: dict, second: dict):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_clip():
    source = ShapesClips("held_out", 10)
    example, spec = source[3], shapes.clip_spec("held_out", 3)
    assert len(source) == 10 and source.spec(3) == spec
    np.testing.assert_array_equal(example["video"], shapes.render(spec, np.arange(16)))
    assert example["fps"] == np.float32(spec.fps) and example["fps"].dtype == np.float32
    assert example["index"] == 3
    assert parse(example["caption"])["colour"] == spec.colour
    assert_same(example, source[3])


def test_other_frame_counts_span_the_clip_at_true_speed():
    example, spec = ShapesClips("train", 5, num_frames=31)[1], shapes.clip_spec("train", 1)
    np.testing.assert_array_equal(example["video"][::2], shapes.render(spec, np.arange(16)))
    np.testing.assert_allclose(example["fps"], 2 * spec.fps, rtol=1e-6)


@pytest.mark.parametrize(("fps", "low", "high"), [((12.0, 80.0), 16.0, 80.0), (40.0, 40.0, 40.0)])
def test_windows_have_the_rate_that_is_asked_for_at_true_speed(monkeypatch, fps, low, high):
    seen: list[np.ndarray] = []
    monkeypatch.setattr(shapes, "render", lambda spec, times_F, size: seen.append(times_F))
    source, rates = ShapesClips("train", 60, num_frames=31, fps=fps), []
    for index, example in enumerate(source):
        rates.append(float(example["fps"]))
        spacing = source.spec(index).fps / rates[-1]
        np.testing.assert_allclose(np.diff(seen[-1]), spacing, rtol=1e-5)
        assert 0 <= seen[-1][0] and seen[-1][-1] <= 15
    assert low <= min(rates) and max(rates) <= high
    assert len({times[0] for times in seen}) > 50  # windows start anywhere
    if low < high:  # the rates of three rounds of temporal super-resolution
        assert min(rates) < 24 and max(rates) > 64 and len(set(rates)) == 60


def test_a_rate_at_which_a_window_is_longer_than_the_clip_is_raised():
    slow, whole = ShapesClips("train", 4, fps=4.0), ShapesClips("train", 4)
    for index in range(4):
        np.testing.assert_array_equal(slow[index]["video"], whole[index]["video"])
        assert slow[index]["fps"] == pytest.approx(whole[index]["fps"])


def test_resolution():
    assert ShapesClips("train", 5, resolution=32, num_frames=4)[0]["video"].shape == (4, 32, 32, 3)


def test_seeds_give_other_clips():
    first, second = (ShapesClips("train", 100, seed=seed) for seed in (0, 1))
    assert not {first.spec(i) for i in range(100)} & {second.spec(i) for i in range(100)}
    assert_same(second[5], ShapesClips("train", 6, seed=1)[5])


def test_contrasts_come_beside_the_right_caption():
    clips = ShapesClips("train", 4, num_frames=2)
    for index, example in enumerate(ContrastedClips(clips)):
        clip = clips[index]
        assert example["caption"] == clip["caption"] not in example["contrasts"]
        np.testing.assert_array_equal(example["video"], clip["video"])
        assert ContrastedClips(clips)[index]["contrasts"] == example["contrasts"]


def test_image_is_the_first_frame():
    image, clip = ShapesImages("train", 5)[2], ShapesClips("train", 5)[2]
    np.testing.assert_array_equal(image["video"], clip["video"][:1])
    assert image["caption"] == clip["caption"] and image["fps"] == clip["fps"]
    assert_same(image, ShapesClips("train", 5, num_frames=1)[2])


def test_high_fps_triplet():
    source = ShapesHighFps("train", 40)
    seen = set()
    for index in range(40):
        example, spec = source[index], source.spec(index)
        assert_same(example, source[index])
        frames = shapes.render(spec, np.arange(31) / 2)
        matches = [n for n in range(15) if np.array_equal(frames[2 * n], example["a"])]
        time = next(n for n in matches if np.array_equal(frames[2 * n + 2], example["b"]))
        seen.add(time)
        np.testing.assert_array_equal(example["mid"], frames[2 * time + 1])
        np.testing.assert_array_equal(example["flow_a"], shapes.flow(spec, time + 0.5, time))
        np.testing.assert_array_equal(example["flow_b"], shapes.flow(spec, time + 0.5, time + 1))
        assert example["time"] == 0.5 and example["fps"] == np.float32(spec.fps)
    assert len(seen) > 8


def test_iteration_ends():
    assert len(list(iter(ShapesImages("train", 3, resolution=8)))) == 3


@pytest.mark.parametrize(
    "arguments",
    [{"split": "test"}, {"size": 0}, {"num_frames": 0}, {"resolution": 0}, {"seed": -1}],
)
def test_bad_fields(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ShapesClips(**{"split": "train", "size": 4} | arguments)
