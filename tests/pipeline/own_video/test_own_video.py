"""Interpolation and restoration of one's own video, by the micro model and as streams."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import UserError, Video, VideoGen, sharding
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.encode import encode_uint8_clips
from videogen_jax.pipeline.own_video.interpolate import interpolation_starts
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.requests.own_video import make_interpolate_request

H, W, FRAMES, FPS = 16, 24, 9, 5.0
WINDOW = micro_model.MICRO.num_frames  # 4, so that windows begin at 0, 3 and 5
STARTS = [0, 3, 5]
TOLERANCE = 1e-5  # of latents of about 1, encoded in groups of another size


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture(scope="module")
def video() -> Video:
    """A clip that changes slowly from one picture of noise to another."""
    ends = np.random.default_rng(0).integers(0, 256, (2, 1, H, W, 3))
    time_F = np.linspace(0, 1, FRAMES)[:, None, None, None]
    return Video(((1 - time_F) * ends[0] + time_F * ends[1]).astype(np.uint8), FPS)


@pytest.fixture(scope="module")
def encoded(model, video) -> np.ndarray:
    pieces = model.restore._codec.encode(video.frames, (H, W), multiple=2)
    return np.concatenate(list(pieces), axis=1)


@pytest.fixture(scope="module")
def dense(model, video, encoded) -> np.ndarray:
    """The interpolated latents of two rounds, by the stream."""
    source = FrameStream.of(video)
    request = make_interpolate_request(model.config, source, times=2)
    pieces = iter(np.split(encoded, [1, 6], axis=1))
    return np.concatenate(list(model.interpolate.latents(pieces, source, request)), axis=1)


@pytest.mark.parametrize(("frames", "window"), [(9, 4), (10, 4), (4, 4), (5, 4), (121, 16), (2, 2)])
def test_windows_share_an_end_frame_and_cover_the_clip(frames, window):
    starts = interpolation_starts(frames, window)
    steps = np.diff(starts)
    assert starts[0] == 0 and starts[-1] + window == frames
    assert (steps[:-1] == window - 1).all() and (0 < steps).all() and (steps < window).all()


def test_frames_are_padded_and_not_stretched(model, video, encoded):
    assert encoded.shape == (1, FRAMES, H // 2, W // 2, 4)
    padded = next(model.restore._codec.encode(video.frames, (H, W), multiple=W))
    square = np.pad(video.frames[:4], ((0, 0), (0, W - H), (0, 0), (0, 0)), mode="edge")
    expected = encode_uint8_clips(model.config, model.params, square[None], W)
    np.testing.assert_allclose(padded, expected, atol=TOLERANCE)


def test_the_frames_of_the_video_stay_bit_for_bit(dense, encoded):
    assert dense.shape == (1, (FRAMES - 1) * 4 + 1, *encoded.shape[2:])
    np.testing.assert_array_equal(dense[:, ::4], encoded)


def test_each_new_frame_is_that_of_the_first_window_with_it(model, dense, encoded):
    put = partial(sharding.put_batch, model._mesh)
    given = put({"fps": np.full(1, FPS, np.float32), "sample": np.zeros(1, np.int32)})
    tokens = micro_model.TOKENIZER([""], model.config.text_encoder.max_length)
    empty = model.cascade.encode_text(model.params, put({"tokens": tokens})["tokens"])
    keys = noise.sample_keys(np.uint32(0), given["sample"])
    for index, (start, first) in enumerate(zip(STARTS, (0, 12, 24), strict=True)):
        window = model.temporal_sr(
            model.params,
            put({"video": encoded[:, start : start + WINDOW]})["video"],
            given["fps"],
            empty,
            noise.fold_in(keys, index),
            rounds=2,
        )
        end = 4 * (start + WINDOW - 1) + 1
        expected = np.asarray(window)[:, first - 4 * start :]
        np.testing.assert_array_equal(dense[:, first:end], expected)


def test_a_stream_is_the_whole_clip_decoded_at_once(model, video, dense):
    result = model.interpolate(video, times=2)
    assert (result.fps, result.prompt, result.reference) == (4 * FPS, "", None)
    assert result.duration == pytest.approx(video.duration, abs=1 / FPS)
    np.testing.assert_array_equal(result.frames, model.decoder(model.params, dense)[0])


def test_the_seed_draws_the_refiners_noise(model, video):
    one, again, other = (model.interpolate(video, times=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frames, again.frames)
    assert (one.frames != other.frames).mean() > 0.01
    assert other.seed == 2


def test_restoring_is_encoding_and_decoding(model, video, encoded):
    result = model.restore(video)
    assert (result.fps, result.frames.shape) == (FPS, video.frames.shape)
    np.testing.assert_array_equal(result.frames, model.decoder(model.params, encoded)[0])


def test_padding_is_cut_away(model, encoded):
    """The networks get the padded size, the result has the video's."""
    frames = list(model.restore._codec.decode([encoded], FRAMES, (H - 3, W - 5), "video"))
    assert {frame.shape for frame in frames} == {(H - 3, W - 5, 3)}
    whole = model.decoder(model.params, encoded)[0]
    np.testing.assert_array_equal(np.stack(frames), whole[:, : H - 3, : W - 5])


def counted(length: int) -> tuple[FrameStream, list[int]]:
    """A long stream of grey frames, and a list that grows with each frame that is read."""
    read: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(length):
            read.append(index)
            yield np.full((H, W, 3), index % 256, np.uint8)

    return FrameStream(frames, Fraction(5), length, (H, W)), read


@pytest.mark.parametrize("part", ["interpolate", "restore"])
def test_only_a_few_frames_are_read_ahead(model, part):
    """However long the video is; a window of the decoder has 16 frames."""
    source, read = counted(10_000)
    options = {"times": 2} if part == "interpolate" else {}
    frames = iter(getattr(model, part).stream(source, **options))
    next(frames)
    assert 0 < len(read) <= 20
    next(frames)
    assert 0 < len(read) <= 20


def test_a_short_video_is_one_shorter_window(model):
    source, _ = counted(2)
    request = make_interpolate_request(model.config, source, times=1)
    assert (request.window, request.num_frames, request.rate) == (2, 3, 10)


def test_a_call_needs_only_its_components(model, video):
    names = ("autoencoder", "video_decoder")
    part = VideoGen(model.config, {n: model.params[n] for n in names}, micro_model.TOKENIZER)
    part.restore.stream(video)
    part.interpolate.stream(video, interpolation="slerp", refine=False)
    for options, missing in [
        ({}, "there is no flow.safetensors, which interpolation='flow' needs"),
        ({"interpolation": "slerp"}, "there is no text_encoder.safetensors, which refine=True"),
    ]:
        with pytest.raises(FileNotFoundError, match=missing):
            part.interpolate.stream(video, **options)
    bare = VideoGen(model.config, {}, micro_model.TOKENIZER)
    with pytest.raises(FileNotFoundError, match="there is no autoencoder.safetensors"):
        bare.restore.stream(video)


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("interpolate", {"times": 0}, "times is 0, expected an integer from 1"),
        ("interpolate", {"times": 8}, "5 frames per second, which times=8 makes 1280"),
        ("interpolate", {"seed": -1}, "seed is -1"),
        ("interpolate", {"steps": 0}, "steps is 0"),
        ("interpolate", {"interpolation": "linear"}, "interpolation is 'linear'"),
        ("interpolate", {"refine": "no"}, "refine is 'no'"),
        ("restore", {"decoder": "none"}, "decoder is 'none'"),
        ("restore", {"size": 2}, "size is 2, expected an integer from 4"),
        ("restore", {"progress": 1}, "progress is 1, expected True or False"),
    ],
)
def test_a_wrong_option_is_named(model, video, part, options, message):
    with pytest.raises(UserError, match=message):
        getattr(model, part).stream(video, **options)


def test_a_wrong_video_is_named(model, video, tmp_path):
    with pytest.raises(UserError, match="the video has 1 frame, expected at least 2"):
        model.interpolate.stream(Video(video.frames[:1], FPS))
    with pytest.raises(FileNotFoundError, match="no file .*none.mp4"):
        model.restore.stream(tmp_path / "none.mp4")
    with pytest.raises(TypeError, match="video is a ndarray, expected a video file, a Video"):
        model.restore.stream(video.frames)
    with pytest.raises(TypeError, match="no option 'time', use 'times', expected one of times"):
        model.interpolate.stream(video, time=3)


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((720, 1280), {}, (16, 28)),
        ((1280, 720), {"size": 360}, (640, 360)),
        ((8, 8), {}, (16, 16)),
        ((45, 61), {"size": 45}, (44, 60)),
    ],
)
def test_the_shorter_side_is_resized_and_sides_are_even(model, size, options, expected):
    source = FrameStream(lambda: iter(()), Fraction(5), 9, size)
    assert make_interpolate_request(model.config, source, **options).size == expected


def test_a_saved_stream_is_its_frames(tmp_path: Path):
    source, _ = counted(20)
    folder = source.save(tmp_path / "frames")
    assert len(list(folder.iterdir())) == 20
    shown = source.preview().frames
    assert (len(shown), shown[0, 0, 0, 0], shown[-1, 0, 0, 0]) == (16, 0, 19)
    np.testing.assert_array_equal(source.read().frames[:, 0, 0, 0], np.arange(20))
