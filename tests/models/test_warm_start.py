"""Warm starts of a video model from a converted Stable Diffusion, and saved model directories."""

import contextlib
import dataclasses
import functools
import io
import itertools
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.references import import_reference
from videogen_jax import VideoGen, trees
from videogen_jax.configs.small import SMALL
from videogen_jax.configs.tiny import TINY
from videogen_jax.conversion.stable_diffusion import convert_stable_diffusion
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.components import component_shapes, init_components, init_leaves
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.models.warm_start import warm_start_model, warm_start_unet
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.weights.model_dir import load_component, save_component

sd = import_reference("tests.support.torch_stable_diffusion")

CLIPS, FRAMES, SIZE, TOKENS, WIDTH = 2, 3, 8, 5, 20
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """The model directory of a tiny Stable Diffusion, configured with the tiny cascade."""
    root = tmp_path_factory.mktemp("stable_diffusion")
    sd.save_folder(sd.build_models(sd.SD1), sd.SD1, root / "source")
    convert_stable_diffusion(root / "source", root / "model", TINY)
    return root / "model"


@pytest.fixture(scope="module")
def started(converted) -> tuple[VideoGen, str]:
    """The video model and the printed report."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model = VideoGen.from_stable_diffusion(converted)
    return model, printed.getvalue()


@pytest.fixture(scope="module")
def model(started) -> VideoGen:
    return started[0]


@functools.partial(jax.jit, static_argnums=0)
def run(unet: SpaceTimeUNet, params: Any, x_BFHWC: Any, network_inputs: dict[str, Any]) -> Any:
    arguments = x_BFHWC, network_inputs["timesteps_B"], network_inputs["text_BTD"]
    others = {name: network_inputs[name] for name in ("pooled_BD", "fps_B", "low_res_noise_B")}
    return unet.apply({"params": params}, *arguments, **others)


def network_inputs() -> dict[str, np.ndarray]:
    return {
        "timesteps_B": np.array([7.0, 940.0], np.float32),
        "text_BTD": normal(CLIPS, TOKENS, WIDTH),
        "pooled_BD": normal(CLIPS, WIDTH),
        "fps_B": np.array([8.0, 24.0], np.float32),
        "low_res_noise_B": np.array([0.0, 300.0], np.float32),
    }


def test_every_component_is_there_and_fits(model):
    assert jax.tree.map(np.shape, model.params) == jax.tree.map(
        np.shape, component_shapes(model.config)
    )


@pytest.mark.parametrize("name", ["stage_1", "stage_3", "refiner"])
def test_video_networks_are_the_image_model_frame_by_frame(model, name):
    """Up to the order of sums; `test_initial_identity.py` compares operation by operation."""
    config = model.config
    part = config.refiner if name == "refiner" else config.stages[int(name[-1]) - 1]
    noisy = normal(CLIPS, FRAMES, SIZE, SIZE, 4)
    conditions = normal(CLIPS, FRAMES, SIZE, SIZE, part.unet.in_channels - 4)
    inputs = network_inputs()
    expected = run(SpaceTimeUNet(config.image.unet), model.params["image_unet"], noisy, inputs)
    x = np.concatenate([noisy, conditions], axis=-1)
    output = run(SpaceTimeUNet(part.unet), model.params[name], x, inputs)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def test_the_video_decoder_is_the_image_decoder_frame_by_frame_bit_for_bit(model):
    latents = normal(CLIPS, FRAMES, SIZE, SIZE, 4)
    video: Any = VideoDecoder(model.config.autoencoder)
    image: Any = Autoencoder(model.config.autoencoder)
    output = jax.jit(video.apply)({"params": model.params["video_decoder"]}, latents)
    decode = jax.jit(functools.partial(image.apply, method="decode"))
    frames = decode({"params": model.params["autoencoder"]}, fold_frames(latents))
    assert np.std(frames) > 0.1
    np.testing.assert_array_equal(output, unfold_frames(frames, FRAMES))


def test_the_report_lists_what_was_copied_new_and_unused(started):
    model, printed = started
    spatial = len(jax.tree.leaves(model.params["image_unet"]))
    video = len(jax.tree.leaves(model.params["stage_1"]))
    assert f"stage_1: {spatial - 1} copied, 1 grown, {video - spatial} new, 0 unused" in printed
    for line in (
        "  grown conv_in/kernel",
        "  new temporal_conv_in/kernel",
        "  unused quant_conv/bias",
    ):
        assert line in printed.splitlines()
    for name in ("stage_2", "stage_3", "refiner", "video_decoder"):
        assert f"\n{name}: " in printed
    assert "new low_res_noise_embedding" in printed


def test_what_is_new_is_drawn_from_the_seed(converted, model):
    """Flow and temporal attention are initialised; text encoder and image model are unchanged."""
    for name in ("text_encoder", "image_unet", "autoencoder"):
        kept = load_component(converted, name)
        jax.tree.map(np.testing.assert_array_equal, model.params[name], kept)
    other, _ = warm_start_model(model.config, model.params, jax.random.key(1))
    flow, other_flow = (trees.flatten(params["flow"]) for params in (model.params, other))
    assert any((flow[path] != other_flow[path]).any() for path in flow)
    query = "mid_block/temporal_attentions_0/attn/to_q/kernel"
    queries = [trees.flatten(params["stage_1"])[query] for params in (model.params, other)]
    assert np.std(queries[0]) > 0 and (queries[0] != queries[1]).any()


def test_fresh_leaves_are_those_of_a_fresh_component():
    key, paths = jax.random.key(3), ("quant_conv/kernel", "decoder/conv_in/kernel")
    leaves = init_leaves(micro_model.MICRO, "autoencoder", key, paths)

    def of_component(key: jax.Array) -> dict[str, jax.Array]:
        whole = trees.flatten(init_components(micro_model.MICRO, key)["autoencoder"])
        return {path: whole[path] for path in paths}  # compiling the others takes long

    jax.tree.map(np.testing.assert_array_equal, leaves, jax.jit(of_component)(key))


def test_a_directory_that_lacks_something_or_is_trained_is_refused(converted, model, tmp_path):
    broken = tmp_path / "broken"
    model.save(broken)
    with pytest.raises(
        ValueError, match=r"broken has flow, refiner, stage_1, .* already: VideoGen"
    ):
        VideoGen.from_stable_diffusion(broken)
    (broken / "image_unet.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="image_unet.safetensors is missing; manifest"):
        VideoGen.from_stable_diffusion(broken)


def test_networks_that_do_not_fit_are_named(converted, model):
    unet = dataclasses.replace(model.config.stages[0].unet, block_out_channels=(16, 16))
    stage = dataclasses.replace(model.config.stages[0], unet=unet)
    config = dataclasses.replace(model.config, stages=(stage, *model.config.stages[1:]))
    with pytest.raises(
        ValueError, match=r"(?s)stage_1: cannot load .* down_blocks_1/\S+ has shape"
    ):
        warm_start_model(config, model.params, jax.random.key(0))


def test_a_saved_model_is_loaded_again(model, tmp_path):
    model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = VideoGen.load(tmp_path / "model")
    assert loaded.config == model.config
    jax.tree.map(np.testing.assert_array_equal, loaded.params, model.params)
    np.testing.assert_array_equal(
        loaded.tokenizer(["a red circle"]), model.tokenizer(["a red circle"])
    )


def test_saving_in_bfloat16(tmp_path):
    model = VideoGen(
        micro_model.MICRO, {"stage_1": micro_model.params()["stage_1"]}, micro_model.TOKENIZER
    )
    model.save(tmp_path / "half", dtype="bfloat16")
    kernel = load_component(tmp_path / "half", "stage_1", dtype=None)["conv_in"]["kernel"]
    assert kernel.dtype == "bfloat16"
    assert VideoGen.load(tmp_path / "half").params.keys() == {"stage_1"}


def saving_error(directory: Path, params: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as caught:
        VideoGen(micro_model.MICRO, params, micro_model.TOKENIZER).save(directory)
    return str(caught.value)


def test_saving_is_strict_and_leaves_no_part_of_a_directory(tmp_path):
    good, target = micro_model.params()["stage_1"], tmp_path / "model"
    bias = np.full(good["conv_in"]["bias"].shape, np.nan, np.float32)
    spoilt = {**good, "conv_in": {**good["conv_in"], "bias": bias}}
    assert "unknown components: stage_9" in saving_error(target, {"stage_9": good})
    message = saving_error(target, {"stage_2": good})
    assert "the parameters of stage_2 do not fit the configuration" in message
    assert "! conv_in/kernel has shape (3, 3, 8, 16), expected (3, 3, 12, 16)" in message
    message = saving_error(
        target, {"text_encoder": micro_model.params()["text_encoder"], "stage_1": spoilt}
    )
    assert "not finite" in message and "conv_in/bias" in message
    assert not list(tmp_path.iterdir())


def test_saving_leaves_an_existing_directory_alone(tmp_path):
    save_component(tmp_path, "stage_1", micro_model.params()["stage_1"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "exists already" in saving_error(tmp_path, micro_model.params())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_saving_needs_the_tokenizer_s_files(tmp_path):
    shutil.copytree(micro_model.TOKENIZER_DIR, tmp_path / "tokenizer")
    model = VideoGen(micro_model.MICRO, {}, load_tokenizer(tmp_path / "tokenizer"))
    shutil.rmtree(tmp_path / "tokenizer")
    with pytest.raises(FileNotFoundError, match="no .*/tokenizer, which the tokenizer was loaded"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # it traces four networks of real size; the tests above have the smallest model
def test_the_chain_of_warm_starts_of_the_small_model():
    """Each network takes parameters from the one before it, in §3.5's order and at real size."""
    chain = "image_unet", "stage_1", "stage_2", "stage_3"
    shapes = component_shapes(SMALL, *chain, "refiner")
    counts = {}
    for before, after in itertools.pairwise(chain):
        source, fresh = (
            jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes[name])
            for name in (before, after)
        )
        _, report = warm_start_unet(fresh, source)
        assert all("temporal_" in path for path in report.new)
        assert set(report.grown) <= {"conv_in/kernel"}
        counts[after] = [len(getattr(report, f)) for f in ("copied", "grown", "new", "unused")]
    assert counts == {
        "stage_1": [685, 1, 226, 0],
        "stage_2": [911, 1, 0, 0],
        "stage_3": [912, 0, 0, 0],
    }
    same = trees.Differences(missing=(), unexpected=(), misshaped={})
    assert trees.differences(shapes["stage_3"], shapes["refiner"]) == same
