"""From prompts to videos through the public class."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import Video, VideoGen, VideoOptions
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.pipeline import interrupts, noise
from videogen_jax.pipeline.denoise import Denoiser

PROMPT = "a red circle"


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture(scope="module")
def video(model) -> Video:
    return model(PROMPT)


def test_a_prompt_becomes_a_video(video):
    """Makes 4 frames at 8 fps, with one round of temporal super-resolution."""
    assert video.frames.shape == (7, 16, 16, 3) and video.frames.dtype == np.uint8
    assert video.reference.shape == (16, 16, 3) and video.reference.dtype == np.uint8
    assert (video.fps, video.prompt, video.seed) == (16.0, PROMPT, 0)
    assert video.frames.std() > 10


def test_the_same_seed_is_the_same_video_and_another_is_another(model, video):
    np.testing.assert_array_equal(model(PROMPT, seed=0).frames, video.frames)
    assert (model(PROMPT, seed=1).frames != video.frames).mean() > 0.1


def test_a_seed_for_each_prompt_is_that_of_a_call_alone(model, video):
    alone = model(PROMPT, seed=1)
    own = model([PROMPT], seed=np.array([1]))[0]
    np.testing.assert_array_equal(own.frames, alone.frames)
    assert own.seed == 1


def test_a_second_call_compiles_nothing(model, video):
    with micro_model.counting_compilations() as compilations:
        jax.jit(lambda x: x + 1)(0.5)
        assert len(compilations) == 1  # compilations are counted
        others = [
            model(PROMPT, seed=5),
            model("a blue square"),
            model(PROMPT, negative_prompt="a ring"),
            model(PROMPT, guidance=(1.5, 2.0, 0.0)),
            model(PROMPT, fps=4.0),
            model(PROMPT, steps=(5, 4, 3, 2)),
            model(PROMPT, guidance_interval=(0.0, 1e9), steps=2),  # every step has guidance
            model(PROMPT, reference=np.zeros((9, 9, 3), np.uint8)),
        ]
        model(PROMPT, progress=True)
    assert len(compilations) == 1
    assert all((other.frames != video.frames).mean() > 0.01 for other in others)


def test_steps_without_guidance_compile_once_for_each_model(model, video):
    """They are those outside of the interval, and all at a guidance of 1."""
    model(PROMPT, guidance=1.0, steps=2)
    with micro_model.counting_compilations() as compilations:
        model("a ring", guidance=(1.0, 2.0, 1.0), seed=3)
        model("a ring", guidance_interval=(0.5, 5.0), steps=4)
    assert not compilations


def test_progress_shows_every_part_and_changes_nothing(model, video, capfd):
    shown = model(PROMPT, progress=True)
    np.testing.assert_array_equal(shown.frames, video.frames)
    bars = capfd.readouterr().err
    for part, done in (
        ("reference image", "3/3"),
        ("stage 1", "3/3"),
        ("stage 2", "3/3"),
        ("temporal SR", "3/3"),
        ("decoding", "7/7"),
    ):
        assert any(part in line and done in line for line in bars.splitlines()), part


def test_a_generated_reference_passed_back_gives_the_same_video(model, video, tmp_path):
    path = tmp_path / "reference.png"
    Image.fromarray(video.reference).save(path)
    for reference in (video.reference, path):
        again = model(PROMPT, reference=reference)
        np.testing.assert_array_equal(again.reference, video.reference)
        np.testing.assert_array_equal(again.frames, video.frames)


def test_another_reference_is_another_video(model, video):
    wide = np.zeros((20, 40, 3), np.uint8)
    other = model(PROMPT, reference=wide)
    np.testing.assert_array_equal(other.reference, np.zeros((16, 16, 3), np.uint8))
    assert (other.frames != video.frames).mean() > 0.1


def test_without_a_reference_no_image_is_made(model, video):
    names = set(model.params) - {"image_unet"}
    part = VideoGen(model.config, {n: model.params[n] for n in names}, micro_model.TOKENIZER)
    part.cascade, part.temporal_sr, part.decoder = model.cascade, model.temporal_sr, model.decoder
    without = part(PROMPT, use_reference=False)
    assert without.reference is None
    assert (without.frames != video.frames).mean() > 0.1


def test_fewer_stages_end_at_their_resolution(model):
    video = model(PROMPT, stages=1)
    assert video.frames.shape == (4, 8, 8, 3)
    assert (video.fps, video.reference.shape) == (8.0, (16, 16, 3))


def test_more_rounds_and_no_refiner(model, video):
    longer = model(PROMPT, temporal_sr=2, refine=False)
    assert (len(longer.frames), longer.fps) == (13, 32.0)


def test_what_a_call_does_not_need_may_be_missing(model, video):
    names = ("text_encoder", "autoencoder", "stage_1")
    params = {name: model.params[name] for name in names}
    part = VideoGen(MICRO, params, micro_model.TOKENIZER)
    part.cascade, part.decoder = model.cascade, model.decoder  # already compiled
    short = part(PROMPT, reference=video.reference, stages=1, decoder="image")
    assert short.frames.shape == (4, 8, 8, 3)
    with pytest.raises(FileNotFoundError, match="there is no image_unet.safetensors"):
        part(PROMPT, stages=1, decoder="image")


def test_a_tokenizer_of_another_vocabulary_is_refused():
    text = dataclasses.replace(MICRO.text_encoder, vocab_size=49408, eos_token_id=49407)
    config = dataclasses.replace(MICRO, text_encoder=text)
    with pytest.raises(ValueError, match="the tokenizer has 727 tokens, end-of-text 726; the text"):
        VideoGen(config, {}, micro_model.TOKENIZER)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "the list of prompts is empty"),
        (PROMPT, {"num_frames": -4}, "num_frames is -4"),
        (PROMPT, {"guidance": float("nan")}, "guidance is nan"),
        ([PROMPT] * 2, {"reference": [np.zeros((8, 8, 3), np.uint8)]}, "1 references for 2"),
        (PROMPT, {"reference": np.zeros((8, 8, 3), np.uint8), "use_reference": False}, "is given"),
    ],
)
def test_bad_input_costs_no_sampling(model, prompt, options, message):
    with (
        micro_model.counting_compilations() as compilations,
        pytest.raises(ValueError, match=message),
    ):
        model(prompt, **options)
    assert not compilations


def test_every_diffusion_model_uses_the_requested_sampler(model, video, monkeypatch):
    used, sample = [], Denoiser.sample

    def recorded(*args, **kwargs) -> jax.Array:
        used.append(kwargs["sampler"])
        return sample(*args, **kwargs)

    monkeypatch.setattr(Denoiser, "sample", recorded)
    other = model(PROMPT, sampler="euler")  # only stage 2, which is ancestral, compiles again
    assert used == [SamplerConfig("euler", 3, "linspace")] * 4  # image, two stages, refiner
    assert (other.frames != video.frames).mean() > 0.1
    model(PROMPT)
    assert used[4:] == [part.sampler for part in (MICRO.image, *MICRO.stages, MICRO.refiner)]


def test_options_may_come_as_one_object(model, video):
    options = VideoOptions(seed=1, stages=1, decoder="image")
    short = model(PROMPT, options=options, seed=0)
    assert short.seed == 0
    np.testing.assert_array_equal(short.reference, video.reference)
    np.testing.assert_array_equal(
        short.frames, model(PROMPT, stages=1, decoder="image", seed=0).frames
    )


def test_an_unknown_option_is_a_type_error(model):
    with pytest.raises(TypeError, match="no option 'guidanc', use 'guidance', expected .*seed"):
        model(PROMPT, guidanc=3.0)


def test_an_untrained_model_has_every_parameter():
    """Uses shapes only, because compiling the initialisation takes half a minute."""
    params = jax.eval_shape(lambda: VideoGen.untrained(MICRO, micro_model.TOKENIZER).params)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, micro_model.params())


def test_networks_compute_in_the_requested_dtype():
    """Uses shapes only. Sampling keeps its state in float32 for any dtype of the networks."""

    def sample() -> tuple[jax.Array, jax.Array]:
        model = VideoGen(MICRO, micro_model.params(), micro_model.TOKENIZER, dtype=jnp.bfloat16)
        tokens = jnp.zeros((1, MICRO.text_encoder.max_length), jnp.int32)
        prompts = model.cascade.encode_prompts(model.params, tokens, tokens)
        reference = jnp.zeros((1, 16, 16, 3), jnp.uint8)
        keys = noise.sample_keys(np.uint32(0), jnp.arange(1))
        latents = model.cascade.sample_stage(
            model.params, 1, prompts, reference, None, jnp.ones(1), keys, num_frames=4
        )
        return prompts.text.states_BTD, latents

    states, latents = jax.eval_shape(sample)
    assert (states.dtype, latents.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.usefixtures("default_interrupt")
@pytest.mark.parametrize("part", ["video", "images"])
def test_an_interrupt_ends_a_call_after_the_current_step(model, monkeypatch, part):
    steps = []
    real = interrupts.check

    def check() -> None:
        steps.append(None)
        if len(steps) == 2:
            signal.raise_signal(signal.SIGINT)
        real()

    monkeypatch.setattr(interrupts, "check", check)
    with pytest.raises(KeyboardInterrupt):
        (model if part == "video" else model.images)(PROMPT)
    assert len(steps) == 2
