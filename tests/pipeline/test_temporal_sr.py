"""Temporal super-resolution: the frames that are kept, and how missing ones are interpolated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.denoise import Denoiser
from videogen_jax.pipeline.frequency import merge_frequencies, slerp
from videogen_jax.pipeline.network import Conditions
from videogen_jax.pipeline.temporal_sr import TemporalSR

TOLERANCE = 1e-4  # for one evaluation of a network
FRAMES, FPS = 4, 8.0


@pytest.fixture(scope="module")
def latents() -> jax.Array:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((1, FRAMES, 8, 8, 4)), jnp.float32)


@pytest.fixture(scope="module")
def empty_text() -> TextStates:
    tokens = micro_model.TOKENIZER([""], micro_model.MICRO.text_encoder.max_length)
    return micro_model.model().cascade.encode_text(micro_model.params(), jnp.asarray(tokens))


@pytest.fixture(scope="module")
def keys() -> jax.Array:
    return noise.sample_keys(np.uint32(3), np.arange(1))


@pytest.fixture(scope="module")
def double(latents, empty_text, keys):
    """Applies temporal super-resolution to the latents."""
    network: TemporalSR = micro_model.model().temporal_sr
    fps = jnp.full(1, FPS)

    def run(rounds: int, **options) -> np.ndarray:
        result = network(micro_model.params(), latents, fps, empty_text, keys, rounds, **options)
        return np.asarray(result)

    return run


def by_flow(latents: jax.Array) -> np.ndarray:
    """Interpolates the middle frame of each pair, one pair at a time."""
    flow = jax.jit(LatentFlow(micro_model.MICRO.flow).apply)
    variables = {"params": micro_model.params()["flow"]}
    pairs = zip(latents[0, :-1], latents[0, 1:], strict=True)
    return np.stack(
        [flow(variables, a[None], b[None], jnp.full(1, 0.5)).merged_BHWC[0] for a, b in pairs]
    )[None]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_n_frames_become_2n_minus_1_and_the_originals_are_kept_bit_for_bit(double, latents, rounds):
    result = double(rounds)
    assert result.shape == (1, (FRAMES - 1) * 2**rounds + 1, 8, 8, 4)
    np.testing.assert_array_equal(result[:, :: 2**rounds], latents)


def test_a_second_round_keeps_the_frames_of_the_first(double):
    np.testing.assert_array_equal(double(2)[:, ::2], double(1))


def test_without_refiner_missing_frames_are_the_flow_networks(double, latents):
    missing = double(1, refine=False)[:, 1::2]
    np.testing.assert_allclose(missing, by_flow(latents), atol=TOLERANCE)


def test_slerp_interpolates_each_two_frames_on_the_sphere(double, latents):
    missing = double(1, interpolation="slerp", refine=False)[:, 1::2]
    for frame in range(FRAMES - 1):
        expected = slerp(latents[:, frame], latents[:, frame + 1], jnp.asarray(0.5))
        np.testing.assert_allclose(missing[:, frame], expected, atol=TOLERANCE)


def test_the_refiner_is_conditioned_on_warped_frames_empty_prompt_and_doubled_fps(
    double, latents, empty_text, keys
):
    """§3.3; low frequencies stay those of the warped frames."""
    warped = jnp.asarray(by_flow(latents))
    conditions = Conditions(
        text=empty_text,
        reference_BFHWZ=jnp.zeros_like(warped),
        low_res_BFHWZ=warped,
        fps_B=jnp.full(1, 2 * FPS),
        low_res_noise_B=jnp.zeros(1, jnp.int32),
    )
    piece_keys = noise.fold_in(noise.fold_in(keys, 0), 0)
    refiner = Denoiser(micro_model.MICRO.refiner, latent_size=8)
    refined = refiner.sample(micro_model.params()["refiner"], conditions, piece_keys, FRAMES - 1)
    expected = merge_frequencies(warped[0], refined[0], micro_model.MICRO.lowpass_factor)
    np.testing.assert_allclose(
        double(1)[0, 1::2], expected, atol=TOLERANCE * np.abs(expected).max()
    )


def test_with_less_strength_the_refiner_starts_from_the_noised_warp(double, monkeypatch):
    calls = []
    sample = micro_model.model().temporal_sr._refiner.sample

    def record(*args, **options) -> jax.Array:
        calls.append((args[1].low_res_BFHWZ, options))
        return sample(*args, **options)

    monkeypatch.setattr(micro_model.model().temporal_sr._refiner, "sample", record)
    ticks: list[int] = []
    little, whole = double(1, steps=4, strength=0.5, tick=ticks.append), double(1, steps=4)
    assert ticks == [1, 1]
    (warped, options), (_, plain) = calls
    np.testing.assert_array_equal(options["clean_BFHWZ"], warped)
    assert options["strength"] == 0.5 and "clean_BFHWZ" not in plain
    assert np.isfinite(little).all() and np.abs(little - whole).max() > 0.01


def test_each_piece_of_each_round_draws_its_own_noise(latents, empty_text, keys, monkeypatch):
    drawn = []

    def sample(params, conditions, keys_B, num_frames, **options) -> jax.Array:
        drawn.append(jax.random.key_data(keys_B).tobytes())
        return jnp.zeros((1, num_frames, 8, 8, 4))

    network = micro_model.model().temporal_sr
    monkeypatch.setattr(network._refiner, "sample", sample)
    network(micro_model.params(), latents, jnp.full(1, FPS), empty_text, keys, rounds=2)
    assert len(drawn) == len(set(drawn)) == 3


def test_ticks_count_the_steps_of_all_rounds(double):
    ticks: list[int] = []
    double(2, steps=2, tick=ticks.append)
    assert ticks == [1] * (2 * (2**2 - 1))


def test_one_frame_has_nothing_between(empty_text, keys):
    network = micro_model.model().temporal_sr
    with pytest.raises(ValueError, match="needs a clip of at least 2 frames"):
        network(micro_model.params(), jnp.zeros((1, 1, 8, 8, 4)), jnp.ones(1), empty_text, keys, 1)
