"""The windows of temporal super-resolution: those of sampling, and those that training draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax.configs import MODELS, RUNS
from videogen_jax.data.shapes.world import FPS_RANGE
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.rounds import Rounds, rounds_of
from videogen_jax.training.tasks.refiner import RefinerTaskConfig, refiner_data

FPS = 8.0
REFINERS = [name for name, run in RUNS.items() if isinstance(run.task, RefinerTaskConfig)]


def test_every_round_has_the_same_windows_at_twice_the_rate():
    assert rounds_of(16, 8.0, 3) == Rounds(31, (16.0, 32.0, 64.0))
    assert rounds_of(2, 8.0, 1) == Rounds(3, (16.0,))
    assert rounds_of(5, 8.0, 0) == Rounds(9, ())
    with pytest.raises(ValueError, match="a clip of at least 2 frames, got 1"):
        rounds_of(1, 8.0, 1)


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_sampling_refines_the_windows_that_training_draws(monkeypatch, frames):
    """Records what the refiner is called with in three rounds."""
    refined: list[tuple[int, float]] = []

    def sample(params, conditions, keys_B, num_frames, **options) -> jax.Array:
        refined.append((num_frames, float(conditions.fps_B[0])))
        return jnp.zeros((1, num_frames, 8, 8, 4))

    network, model = micro_model.model().temporal_sr, micro_model.MICRO
    monkeypatch.setattr(network._refiner, "sample", sample)
    tokens = micro_model.TOKENIZER([""], model.text_encoder.max_length)
    text = micro_model.model().cascade.encode_text(micro_model.params(), jnp.asarray(tokens))
    keys, latents = noise.sample_keys(np.uint32(0), np.arange(1)), jnp.zeros((1, frames, 8, 8, 4))
    options = {"interpolation": "slerp"}  # compiles faster
    network(micro_model.params(), latents, jnp.full(1, FPS), text, keys, 3, **options)

    windows = rounds_of(frames, FPS, 3)
    expected = [(windows.num_frames // 2, rate) for rate in windows.rates]
    assert refined == [pair for i, pair in enumerate(expected) for _ in range(2**i)]


@pytest.mark.parametrize("name", REFINERS)
def test_a_refiner_trains_on_the_windows_and_rates_of_all_rounds(name):
    model, data = RUNS[name].model, RUNS[name].data
    assert data == refiner_data(model)
    windows = rounds_of(model.num_frames, model.fps, max(3, model.temporal_sr_rounds))
    assert data.num_frames == windows.num_frames
    low, high = data.fps
    assert low < min(windows.rates) and max(windows.rates) < high
    # Procedural clips are too short for lower rates than these.
    assert FPS_RANGE[0] * 2 <= min(windows.rates)


@pytest.mark.parametrize("name", [n for n, r in RUNS.items() if r.task.command == "cascade"])
def test_a_stage_trains_on_a_range_that_contains_the_rate_of_sampling(name):
    run, data = RUNS[name], RUNS[name].data
    if data.fps is None:  # procedural clips of 16 frames, at their own rates
        assert name.startswith("shapes-") and data.num_frames == 16
        low, high = FPS_RANGE
    else:
        low, high = data.fps
    assert low <= run.model.fps < high and VideoOptions().fps is None


@pytest.mark.parametrize("name", ["paper", "small"])
def test_a_video_decoder_trains_on_the_rates_of_all_videos(name):
    low, high = RUNS[f"{name}-video-decoder"].data.fps
    model = MODELS[name]
    rates = rounds_of(model.num_frames, model.fps, model.temporal_sr_rounds).rates
    assert low < model.fps and max(rates) < high
