"""Decoding in windows of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax.data.transforms import to_uint8
from videogen_jax.pipeline.decode import FrameDecoder, quantise, window_starts, window_weights

TOLERANCE = 1e-6
WINDOW, OVERLAP, FRAMES = 6, 3, 14


@pytest.fixture(scope="module")
def latents() -> jax.Array:
    """Latents `[1, 14, 4, 4, 4]` that change slowly from frame to frame."""
    ends = np.random.default_rng(1).standard_normal((2, 1, 4, 4, 4))
    time_F = np.linspace(0, 1, FRAMES)[:, None, None, None]
    return jnp.asarray(((1 - time_F) * ends[0] + time_F * ends[1])[None], jnp.float32)


@pytest.fixture(scope="module")
def windowed() -> FrameDecoder:
    return FrameDecoder(micro_model.MICRO.autoencoder, window=WINDOW, overlap=OVERLAP)


@pytest.fixture(scope="module")
def whole() -> FrameDecoder:
    return FrameDecoder(micro_model.MICRO.autoencoder, window=FRAMES, overlap=OVERLAP)


@pytest.mark.parametrize(("frames", "window", "overlap"), [(14, 6, 3), (121, 16, 4), (17, 16, 4)])
def test_windows_cover_the_clip_and_overlap_enough(frames, window, overlap):
    starts = window_starts(frames, window, overlap)
    assert starts[0] == 0 and starts[-1] + window == frames
    assert all(0 < step <= window - overlap for step in np.diff(starts))
    assert len(starts) == -(-(frames - overlap) // (window - overlap))


def test_a_short_clip_is_one_window():
    assert window_starts(16, 16, 4) == [0]


def test_weights_cross_fade_linearly_and_sum_to_1():
    weights = window_weights(num_frames=8, window=5, starts=[0, 3])
    np.testing.assert_allclose(weights[0], [1, 1, 1, 2 / 3, 1 / 3], atol=TOLERANCE)
    np.testing.assert_allclose(weights[1], [1 / 3, 2 / 3, 1, 1, 1], atol=TOLERANCE)


def test_image_decoding_does_not_depend_on_the_windows(windowed, whole, latents):
    in_windows = windowed(micro_model.params(), latents, "image")
    assert in_windows.shape == (1, FRAMES, 8, 8, 3) and in_windows.dtype == np.uint8
    difference = np.abs(in_windows.astype(int) - whole(micro_model.params(), latents, "image"))
    assert difference.max() <= 1  # the weights sum to 1 up to float32 rounding


def test_video_decoding_in_windows_is_near_to_that_of_the_whole(windowed, whole, latents):
    at_once = whole(micro_model.params(), latents, "video").astype(int)
    in_windows = windowed(micro_model.params(), latents, "video").astype(int)
    by_image = windowed(micro_model.params(), latents, "image").astype(int)
    error, scale = np.abs(in_windows - at_once).mean(), np.abs(by_image - at_once).mean()
    assert 0 < error < 0.25 * scale


def test_ticks_count_each_frame_once(windowed, latents):
    ticks: list[int] = []
    windowed(micro_model.params(), latents, "image", ticks.append)
    assert len(ticks) == len(window_starts(FRAMES, WINDOW, OVERLAP)) and sum(ticks) == FRAMES


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_quantising_clips_and_rounds_as_everywhere(array):
    pixels = array(np.linspace(-1.5, 1.5, 1001, dtype=np.float32))
    np.testing.assert_array_equal(quantise(pixels), to_uint8(jnp.asarray(pixels)))


@pytest.mark.parametrize(("window", "overlap"), [(4, 4), (4, -1)])
def test_an_overlap_must_be_less_than_the_window(window, overlap):
    with pytest.raises(
        ValueError, match=f"overlap is {overlap}, expected at least 0 and below window={window}"
    ):
        FrameDecoder(micro_model.MICRO.autoencoder, window=window, overlap=overlap)
