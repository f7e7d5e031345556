"""Export to diffusers is the inverse of import, bit for bit."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.numpy import load_file
from torch_stable_diffusion import SD1, SD2, build_models, save_folder

from videogen_jax import VideoGen
from videogen_jax.presets import PAPER
from videogen_jax.trees import flatten
from videogen_jax.weights.stable_diffusion import convert_stable_diffusion, stable_diffusion_configs
from videogen_jax.weights.to_diffusers import export_to_diffusers, spatial_params


@pytest.mark.parametrize("spec", [SD1, SD2])
def test_files_and_configs_come_back(tmp_path, spec):
    save_folder(build_models(spec), spec, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "model", PAPER)
    export_to_diffusers(tmp_path / "model", tmp_path / "out")
    for file in tmp_path.glob("source/*/*.safetensors"):
        theirs = load_file(file)
        ours = load_file(tmp_path / "out" / file.relative_to(tmp_path / "source"))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    configs = stable_diffusion_configs(tmp_path / "out")
    assert dataclasses.asdict(configs) == dataclasses.asdict(
        stable_diffusion_configs(tmp_path / "source")
    )
    with pytest.raises(ValueError, match="exists already"):
        export_to_diffusers(tmp_path / "model", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no component 'stage_1'"):
        export_to_diffusers(tmp_path / "model", tmp_path / "new", "stage_1")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("spec", [SD1, SD2])
def test_pipeline_gives_the_same_image(tmp_path, spec):
    models = build_models(spec)
    save_folder(models, spec, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "model", PAPER)
    export_to_diffusers(tmp_path / "model", tmp_path / "out")
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path / "out")
    original = StableDiffusionPipeline(
        models.vae, models.text_encoder, loaded.tokenizer, models.unet, loaded.scheduler,
        None, None, requires_safety_checker=False,
    )  # fmt: skip
    latents = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 16, 16), np.float32))
    images = []
    for pipeline in (loaded, original):
        pipeline.set_progress_bar_config(disable=True)
        given = {"latents": latents.clone(), "num_inference_steps": 3, "output_type": "np"}
        images.append(pipeline("a red circle", **given).images)
    assert images[0].std() > 0
    np.testing.assert_array_equal(*images)


def test_a_stages_spatial_weights_are_the_image_models_it_started_from(tmp_path):
    save_folder(build_models(SD1), SD1, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "image", PAPER)
    VideoGen.from_stable_diffusion(tmp_path / "image").save(tmp_path / "video")
    export_to_diffusers(tmp_path / "video", tmp_path / "out", "stage_2", "float16")
    file = "unet/diffusion_pytorch_model.safetensors"
    ours, theirs = load_file(tmp_path / "out" / file), load_file(tmp_path / "source" / file)
    assert ours.keys() == theirs.keys()
    for key, weight in theirs.items():
        np.testing.assert_array_equal(ours[key], weight.astype(np.float16))


def test_spatial_params_are_the_image_models():
    conv = np.arange(9.0 * 8 * 2).reshape(3, 3, 8, 2)
    image = {"conv_in": {"kernel": conv[:, :, :4]}, "conv_out": {"bias": np.ones(2)}}
    video = {
        "conv_in": {"kernel": conv},
        "conv_out": {"bias": np.ones(2)},
        "temporal_conv_in": {"kernel": np.ones(3)},
        "mid_block": {"temporal_attentions_0": {"norm": {"scale": np.ones(3)}}},
        "low_res_noise_embedding": {"linear_1": {"bias": np.ones(3)}},
    }
    found = flatten(spatial_params(video, 4))
    assert found.keys() == flatten(image).keys()
    assert all(np.array_equal(found[path], leaf) for path, leaf in flatten(image).items())
