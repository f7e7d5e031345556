"""The procedural clips: determinism, splits, geometry, rendering and true flow."""

import cv2
import numpy as np
import pytest

from videogen_jax.data.shapes import world as shapes
from videogen_jax.data.shapes.outlines import SHAPES, coverage, extents

FRAMES = np.arange(shapes.NUM_FRAMES)
# Training clip 0: shape, colour, size, motion, background, radius, x, y, travel and fps.
PINNED_NAMES = ("triangle", "orange", "small", "left", "white")
PINNED_NUMBERS = (9.014442795, 36.44366637, 25.179868236, 21.170058909, 10.580981421)
# Bilinear resampling of an antialiased frame, inside the object, in levels of 255.
WARP_TOLERANCE = 3.0


@pytest.fixture(scope="module")
def specs() -> list[shapes.ClipSpec]:
    return [shapes.clip_spec(split, index) for split in shapes.SPLITS for index in range(200)]


def spec_with(specs: list[shapes.ClipSpec], **values: str) -> shapes.ClipSpec:
    return next(s for s in specs if all(getattr(s, k) == v for k, v in values.items()))


def test_spec_is_a_pure_function_of_split_and_index():
    assert shapes.clip_spec("train", 7) == shapes.clip_spec("train", 7)
    assert shapes.clip_spec("train", 7) != shapes.clip_spec("train", 8)
    assert shapes.clip_spec("train", 7) != shapes.clip_spec("validation", 7)
    assert shapes.clip_spec("train", 10**30) == shapes.clip_spec("train", 10**30)


def test_spec_is_pinned():
    """Trained models and published results depend on these clips."""
    spec = shapes.clip_spec("train", 0)
    assert (spec.shape, spec.colour, spec.size) == PINNED_NAMES[:3]
    assert (spec.motion, spec.background) == PINNED_NAMES[3:]
    np.testing.assert_allclose(
        (spec.radius, *spec.start, spec.travel, spec.fps), PINNED_NUMBERS, 1e-8
    )


def test_held_out_combinations_are_disjoint_and_leave_every_pair():
    train, held_out = (set(shapes.combinations(split)) for split in ("train", "held_out"))
    assert not train & held_out
    assert len(train | held_out) == 400
    assert 30 <= len(held_out) <= 50
    assert shapes.combinations("validation") == shapes.combinations("train")
    sizes = {"shape": 5, "colour": 8, "motion": 10}
    names = list(sizes)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = {(triple[first], triple[second]) for triple in train}
        assert len(pairs) == sizes[names[first]] * sizes[names[second]]


def test_specs_stay_in_their_split(specs):
    for position, spec in enumerate(specs):
        split = shapes.SPLITS[position // 200]
        assert (spec.shape, spec.colour, spec.motion) in shapes.combinations(split)


def test_every_value_occurs(specs):
    for name, values in (
        ("shape", SHAPES),
        ("colour", shapes.COLOURS),
        ("motion", shapes.MOTIONS),
        ("size", shapes.SIZES),
        ("background", shapes.BACKGROUNDS),
    ):
        assert {getattr(spec, name) for spec in specs} == set(values)


def test_object_stays_in_the_frame(specs):
    for spec in specs:
        centre_F2, radius_F = shapes.centre_at(spec, FRAMES), shapes.radius_at(spec, FRAMES)
        left, right, up, down = (radius_F * extent for extent in extents(spec.shape))
        reach = [*(centre_F2[:, 0] - left), *(centre_F2[:, 1] - up)]
        reach += [*(64 - centre_F2[:, 0] - right), *(64 - centre_F2[:, 1] - down)]
        assert min(reach) >= -1e-9


def test_travel_and_growth(specs):
    for spec in specs:
        (start, end), (first, last) = (
            shapes.centre_at(spec, [0, 15]),
            shapes.radius_at(spec, [0, 15]),
        )
        low, high = shapes.SIZES[spec.size]
        assert low <= first <= high
        if spec.motion in shapes.DIRECTIONS:
            assert last == first
            np.testing.assert_allclose(np.linalg.norm(end - start), 28 * 8 / spec.fps)
            np.testing.assert_allclose((end - start) / spec.travel, shapes.DIRECTIONS[spec.motion])
            assert 20 - 1e-9 <= spec.travel <= 28
        else:
            np.testing.assert_array_equal(start, end)
            np.testing.assert_allclose(last / first, shapes.SCALINGS[spec.motion])


@pytest.mark.parametrize("shape", SHAPES)
def test_outline_reaches_its_extents_about_its_centroid(shape):
    drawn_HW = coverage(shape, np.full((1, 2), 128.0), np.asarray([80.0]), 256)[0]
    columns, rows = (np.flatnonzero(drawn_HW.max(axis) > 0.5) for axis in (0, 1))
    reach = (128 - columns[0], columns[-1] + 1 - 128, 128 - rows[0], rows[-1] + 1 - 128)
    # Sharp tips fade out below half coverage one or two pixels early.
    np.testing.assert_allclose(reach, 80 * np.asarray(extents(shape)), atol=2.0)
    grid = np.arange(256) + 0.5 - 128
    centroid = (drawn_HW.sum(0) @ grid, drawn_HW.sum(1) @ grid) / drawn_HW.sum()
    np.testing.assert_allclose(centroid, 0, atol=0.3)


def test_shapes_differ_at_the_smallest_radius():
    drawn = [coverage(name, np.full((1, 2), 16.0), np.asarray([9.0]), 32)[0] for name in SHAPES]
    for first in range(5):
        for second in range(first):
            shared = np.minimum(drawn[first], drawn[second]).sum()
            assert shared / np.maximum(drawn[first], drawn[second]).sum() < 0.86


def test_render(specs):
    spec = spec_with(specs, shape="circle", size="large", motion="left")
    video_FHWC = shapes.render(spec, FRAMES)
    assert video_FHWC.shape == (16, 64, 64, 3) and video_FHWC.dtype == np.uint8
    np.testing.assert_array_equal(video_FHWC, shapes.render(spec, FRAMES))
    for frame, (x, y) in zip(video_FHWC, shapes.centre_at(spec, FRAMES).astype(int), strict=True):
        np.testing.assert_array_equal(frame[y, x], shapes.COLOURS[spec.colour])
    far_corner = video_FHWC[0, 0 if spec.start[1] > 32 else -1, -1].astype(int)
    assert np.abs(far_corner - shapes.BACKGROUNDS[spec.background]).max() <= 14


def test_resolutions_agree(specs):
    """A small frame is the average of the large one, up to the approximate coverage of edges."""
    for shape in SHAPES:
        spec = spec_with(specs, shape=shape, size="large")
        large = shapes.render(spec, [4.0], 256)[0].astype(np.float32)
        small = shapes.render(spec, [4.0], 64)[0].astype(np.float32)
        assert np.abs(large.reshape(64, 4, 64, 4, 3).mean((1, 3)) - small).mean() < 1.0


def test_times_are_real_valued_and_checked(specs):
    spec = spec_with(specs, motion="growing")
    radii = shapes.radius_at(spec, [2.0, 2.5, 3.0])
    np.testing.assert_allclose(radii[1] ** 2, radii[0] * radii[2])
    for times in ([-0.1], [15.1], [np.nan], 3.0):
        with pytest.raises(ValueError, match="times"):
            shapes.render(spec, times)


def test_unknown_split_and_negative_index():
    with pytest.raises(ValueError, match="train, validation, held_out"):
        shapes.clip_spec("test", 0)
    with pytest.raises(ValueError, match="index"):
        shapes.clip_spec("train", -1)


@pytest.mark.parametrize("motion", ["right", "up and left", "growing", "shrinking"])
@pytest.mark.parametrize("resolution", [64, 128])
def test_flow_warps_one_frame_into_the_other(specs, motion, resolution):
    spec = spec_with(specs, motion=motion, size="large")
    time_from, time_to = 6.5, 9.0
    frame_from, frame_to = shapes.render(spec, [time_from, time_to], resolution).astype(np.float32)
    flow_HW2 = shapes.flow(spec, time_from, time_to, resolution)
    assert flow_HW2.shape == (resolution, resolution, 2) and flow_HW2.dtype == np.float32
    grid = np.arange(resolution, dtype=np.float32)
    x_HW, y_HW = np.meshgrid(grid, grid)
    warped = cv2.remap(frame_to, x_HW + flow_HW2[..., 0], y_HW + flow_HW2[..., 1], cv2.INTER_LINEAR)
    scale = resolution / 64
    alpha_HW = coverage(
        spec.shape,
        shapes.centre_at(spec, [time_from]) * scale,
        shapes.radius_at(spec, [time_from]) * scale,
        resolution,
    )[0]
    # One pixel in from the edge, where the other frame's antialiasing cannot reach.
    inside_HW = cv2.erode(alpha_HW, np.ones((3, 3))) == 1
    assert inside_HW.sum() > 50
    assert np.abs(frame_from - frame_to)[alpha_HW > 0].max() > 50
    assert np.abs(warped - frame_from)[inside_HW].max() < WARP_TOLERANCE
    np.testing.assert_array_equal(flow_HW2[alpha_HW == 0], 0)


def test_flow_of_the_whole_clip_is_the_travel(specs):
    spec = spec_with(specs, motion="down")
    flow_HW2 = shapes.flow(spec, 0, 15)
    np.testing.assert_allclose(flow_HW2.max((0, 1)), (0, spec.travel), rtol=1e-6)
    np.testing.assert_allclose(
        shapes.flow(spec, 0, 15, 128).max((0, 1)), (0, 2 * spec.travel), rtol=1e-6
    )
