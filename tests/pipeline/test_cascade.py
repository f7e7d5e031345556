"""The image model and the stages: comparison with a plain sampling loop, effect of conditions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.diffusion.process import add_noise, noise_tables
from videogen_jax.diffusion.samplers import plan
from videogen_jax.models.autoencoder import Autoencoder, scale_latents
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.conditioning import network_input, reference_video, upsample

TOLERANCE = 1e-4  # for three evaluations of a network
FRAMES, FPS = 4, 8.0


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return micro_model.model().cascade


@pytest.fixture(scope="module")
def keys() -> jax.Array:
    return noise.sample_keys(np.uint32(3), np.arange(1))


@pytest.fixture(scope="module")
def reference() -> jax.Array:
    """A reference image, uint8 `[1, 16, 16, 3]`."""
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8))


@pytest.fixture(scope="module")
def low_res() -> jax.Array:
    """Latents of stage 1, `[1, 4, 4, 4, 4]`."""
    return jax.random.normal(jax.random.key(1), (1, FRAMES, 4, 4, 4))


def tokens(text: str) -> jax.Array:
    return jnp.asarray(micro_model.TOKENIZER([text], micro_model.MICRO.text_encoder.max_length))


def prompt_states(text: str = "a red circle", negative: str = "") -> PromptStates:
    cascade = micro_model.model().cascade
    return cascade.encode_prompts(micro_model.params(), tokens(text), tokens(negative))


@pytest.fixture(scope="module")
def stage_2(cascade, keys, reference, low_res):
    """Samples stage 2 with some arguments changed."""

    def draw(**changed) -> np.ndarray:
        arguments = {
            "prompts": prompt_states(),
            "reference_BHWC": reference,
            "low_res_BFHWZ": low_res,
            "fps_B": jnp.full(1, FPS),
            "keys_B": keys,
            "num_frames": FRAMES,
        }
        return np.asarray(cascade.sample_stage(micro_model.params(), 2, **(arguments | changed)))

    return draw


def plain_stage_2(keys: jax.Array, reference: jax.Array, low_res: jax.Array) -> np.ndarray:
    """Samples stage 2 by a plain loop: three ancestral steps, with two calls for guidance."""
    config, params = micro_model.MICRO.stages[1], micro_model.params()
    unet = jax.jit(SpaceTimeUNet(config.unet).apply)
    text_encoder: Any = TextEncoder(micro_model.MICRO.text_encoder)
    prompt, null = (
        text_encoder.apply({"params": params["text_encoder"]}, tokens(text))
        for text in ("a red circle", "")
    )
    pixels = resize(to_float(reference), config.resolution)
    encode = jax.jit(
        lambda params, x: Autoencoder(micro_model.MICRO.autoencoder).apply(
            {"params": params}, x, method="encode"
        )
    )
    latent = scale_latents(
        micro_model.MICRO.autoencoder, encode(params["autoencoder"], pixels).mean
    )
    stage_keys = noise.fold_in(keys, 2)
    levels = jnp.full(1, config.low_res_noise)
    shape = (FRAMES, 8, 8, 4)
    low_res_noise = noise.normal(noise.fold_in(stage_keys, noise.LOW_RES), shape)
    below = add_noise(noise_tables(config.schedule), upsample(low_res), low_res_noise, levels)

    x = noise.normal(noise.fold_in(stage_keys, noise.INITIAL), shape)
    table = plan(config.schedule, config.sampler)
    for step in range(3):
        uncond, cond = (
            unet(
                {"params": params["stage_2"]},
                network_input(x, reference_video(latent, FRAMES), below),
                table.timesteps_T[step][None],
                text.states_BTD,
                pooled_BD=text.pooled_BD,
                fps_B=jnp.full(1, FPS),
                low_res_noise_B=levels,
            )
            for text in (null, prompt)
        )
        output = uncond + config.guidance_scale * (cond - uncond)
        x0 = table.x0_of_x_T[step] * x + table.x0_of_output_T[step] * output
        draws = noise.normal(noise.fold_in(stage_keys, noise.FIRST_STEP + step), shape)
        x = table.keep_T[step] * x + table.denoised_T[step] * x0 + table.noise_T[step] * draws
    return np.asarray(x)


def test_a_stage_is_the_plain_sampling_loop(stage_2, keys, reference, low_res):
    expected = plain_stage_2(keys, reference, low_res)
    assert expected.shape == (1, FRAMES, 8, 8, 4)
    np.testing.assert_allclose(stage_2(), expected, atol=TOLERANCE * np.abs(expected).max())


def test_every_condition_matters(stage_2, keys, reference, low_res):
    drawn = stage_2()
    for changed in (
        {"prompts": prompt_states("a blue square")},
        {"prompts": prompt_states(negative="a blue square")},
        {"reference_BHWC": 255 - reference},
        {"low_res_BFHWZ": -low_res},
        {"fps_B": jnp.full(1, 2 * FPS)},
        {"keys_B": noise.fold_in(keys, 0)},
        {"guidance_scale": 1.5},
    ):
        assert np.abs(stage_2(**changed) - drawn).max() > 0.01, changed.keys()


def test_without_a_reference_its_latents_are_zero(stage_2, cascade, keys, reference, low_res):
    def condition(reference: jax.Array | None) -> Any:
        params, fps = micro_model.params()["autoencoder"], jnp.full(1, FPS)
        size = (micro_model.MICRO.stages[1].resolution,) * 2
        inputs = params, prompt_states(), reference, low_res, fps, keys
        return cascade._conditions(*inputs, stage=2, num_frames=FRAMES, size=size)

    with_reference, without = condition(reference), condition(None)
    assert with_reference.reference_BFHWZ.any() and not without.reference_BFHWZ.any()
    assert without.reference_BFHWZ.shape == with_reference.reference_BFHWZ.shape
    np.testing.assert_array_equal(without.low_res_BFHWZ, with_reference.low_res_BFHWZ)
    assert np.abs(stage_2(reference_BHWC=None) - stage_2()).max() > 0.01


def test_guidance_of_1_leaves_the_negative_prompt_out(stage_2):
    one, other = (
        stage_2(prompts=prompt_states(negative=text), guidance_scale=1.0) for text in ("", "ring")
    )
    np.testing.assert_allclose(one, other, atol=TOLERANCE * np.abs(one).max())


def test_step_by_step_is_the_same_as_in_one_program(stage_2):
    ticks: list[int] = []
    stepwise = stage_2(steps=5, tick=ticks.append)
    whole = stage_2(steps=5)
    np.testing.assert_allclose(stepwise, whole, atol=TOLERANCE * np.abs(whole).max())
    assert ticks == [1] * 5


def test_the_image_model_gives_pictures(cascade, keys):
    picture = np.asarray(cascade.sample_image(micro_model.params(), prompt_states(), keys))
    assert picture.shape == (1, 16, 16, 3) and picture.dtype == np.uint8
    assert picture.std() > 10
    other = np.asarray(
        cascade.sample_image(micro_model.params(), prompt_states("a blue ring"), keys)
    )
    assert (picture != other).mean() > 0.1
