"""From prompts to videos through the public class."""

import dataclasses
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import UserError, Video, VideoGen, VideoOptions
from videogen_jax.configs import RUNS
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.pipeline import interrupts, noise
from videogen_jax.pipeline.denoise import Denoiser
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.manifest import read_manifest, record_files, write_manifest
from videogen_jax.weights.model_dir import save_component

PROMPT = "a red circle"


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture(scope="module")
def video(model) -> Video:
    return model(PROMPT)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The model directory of the micro model."""
    directory = tmp_path_factory.mktemp("models") / "micro"
    for name, params in micro_model.params().items():
        save_component(directory, name, params)
    save_config(directory / "config.json", MICRO)
    shutil.copytree(micro_model.TOKENIZER_DIR, directory / "tokenizer")
    record_files(directory)
    return directory


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """A copy of the model directory for a test to damage."""
    return Path(shutil.copytree(saved, tmp_path / "broken"))


def test_a_prompt_becomes_a_video(video):
    """Makes 4 frames at 8 fps, with one round of temporal super-resolution."""
    assert video.frames.shape == (7, 16, 16, 3) and video.frames.dtype == np.uint8
    assert video.reference.shape == (16, 16, 3) and video.reference.dtype == np.uint8
    assert (video.fps, video.prompt, video.seed) == (16.0, PROMPT, 0)
    assert video.frames.std() > 10


def test_the_same_seed_is_the_same_video_and_another_is_another(model, video):
    np.testing.assert_array_equal(model(PROMPT, seed=0).frames, video.frames)
    assert (model(PROMPT, seed=1).frames != video.frames).mean() > 0.1


def test_a_second_call_compiles_nothing(model, video):
    with micro_model.counting_compilations() as compilations:
        jax.jit(lambda x: x + 1)(0.5)
        assert len(compilations) == 1  # compilations are counted
        other = model(
            "a blue square",
            seed=5,
            guidance=(1.0, 2.0, 1.0),
            steps=(5, 4, 3, 2),
            fps=4.0,
            negative_prompt="a ring",
        )
        model(PROMPT, progress=True)
    assert len(compilations) == 1
    assert (other.frames != video.frames).mean() > 0.1


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


def test_a_model_directory_is_loaded(saved):
    loaded = VideoGen.load(saved)
    assert loaded.config == MICRO
    assert loaded.tokenizer.vocab_size == micro_model.TOKENIZER.vocab_size
    jax.tree.map(np.testing.assert_array_equal, loaded.params, micro_model.params())
    assert VideoGen.load(str(saved)).config == MICRO


@pytest.mark.parametrize(
    ("component", "options", "needs"),
    [
        ("video_decoder", {}, "decoder='video'"),
        ("flow", {}, "temporal_sr with interpolation='flow'"),
        ("refiner", {}, "temporal_sr with refine=True"),
        ("stage_2", {}, "stage 2"),
        ("image_unet", {}, "a call without a reference image"),
        ("text_encoder", {"stages": 1, "decoder": "image"}, "every call"),
    ],
)
def test_a_missing_component_is_named_by_the_calls_that_need_it(copy, component, options, needs):
    (copy / f"{component}.safetensors").unlink()
    entries = read_manifest(copy)
    write_manifest(copy, {name: entries[name] for name in entries if name != component})
    model = VideoGen.load(copy)
    with pytest.raises(FileNotFoundError) as caught:
        model(PROMPT, **options)
    message = f"{copy}: there is no {component}.safetensors, which {needs} needs"
    assert str(caught.value) == message


def test_what_a_call_does_not_need_may_be_missing(model, video):
    names = ("text_encoder", "autoencoder", "stage_1")
    params = {name: model.params[name] for name in names}
    part = VideoGen(MICRO, params, micro_model.TOKENIZER)
    part.cascade, part.decoder = model.cascade, model.decoder  # already compiled
    short = part(PROMPT, reference=video.reference, stages=1, decoder="image")
    assert short.frames.shape == (4, 8, 8, 3)
    with pytest.raises(FileNotFoundError, match="there is no image_unet.safetensors"):
        part(PROMPT, stages=1, decoder="image")


def test_an_unknown_name_lists_the_models_that_ship(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match="no model 'shape': expected a model directory or one of"
    ):
        VideoGen.load("shape")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "config.json").write_text("{}")
    monkeypatch.setattr("videogen_jax.pipeline.model_files._ASSETS", tmp_path)
    with pytest.raises(FileNotFoundError, match="one of the shipped models: blobs"):
        VideoGen.load("shape")


def test_a_damaged_file_is_named(copy):
    path = copy / "stage_1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"stage_1.safetensors is damaged"):
        VideoGen.load(copy)


def test_a_file_that_differs_from_the_manifest_is_named(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"num_steps": 3', '"num_steps": 5'))
    with pytest.raises(UserError, match="config.json is damaged: its content differs"):
        VideoGen.load(copy)


def test_a_component_of_other_sizes_is_named(copy):
    save_component(copy, "stage_1", micro_model.params()["stage_2"])
    with pytest.raises(ValueError) as caught:
        VideoGen.load(copy)
    assert "stage_1.safetensors does not fit the configuration" in str(caught.value)
    assert "conv_in/kernel has shape (3, 3, 12, 16), expected (3, 3, 8, 16)" in str(caught.value)


def test_an_unknown_field_is_named(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"num_frames"', '"num_frame"'))
    with pytest.raises(ValueError, match="unknown num_frame; ModelConfig has name, text_encoder"):
        VideoGen.load(copy)


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
    other = model(PROMPT, sampler="ddpm")
    assert used == [SamplerConfig("ddpm", 3, "leading")] * 4  # image, two stages, refiner
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run", "is the run directory of a training, .*`videogen export .*run MODEL_DIR`"),
        ("run/checkpoints/5", "is the run directory of a training, .*export .*run MODEL_DIR`"),
        ("diffusers", "is a folder of diffusers; `videogen convert stable-diffusion"),
        ("sd.ckpt", "expected a model directory .*; `videogen convert stable-diffusion"),
        ("owner/sd", "expected a model directory .*; `videogen convert stable-diffusion"),
        ("empty", "no configuration file .*empty/config.json"),
    ],
)
def test_what_is_not_a_model_directory_is_answered_with_what_to_do(
    tmp_path, monkeypatch, name, message
):
    monkeypatch.chdir(tmp_path)
    for folder in ("run/checkpoints/5", "diffusers", "empty"):
        Path(folder).mkdir(parents=True)
    save_config("run/config.json", RUNS["tiny-image"])
    Path("diffusers/model_index.json").write_text("{}")
    Path("sd.ckpt").touch()
    with pytest.raises(UserError, match=message):
        VideoGen.load(name)


def test_a_tilde_is_the_home_folder(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert read_model_config(f"~/{saved.name}") == (saved, MICRO)
