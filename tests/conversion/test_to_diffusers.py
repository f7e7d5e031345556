"""Export to diffusers is the inverse of import, bit for bit."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.numpy import load_file

from tests.support import micro_model
from tests.support.torch_stable_diffusion import SD1, SD2, build_models, respell, save_folder
from videogen_jax import ModelConfig
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    convert_stable_diffusion,
    stable_diffusion_configs,
)
from videogen_jax.conversion.to_diffusers import export_to_diffusers, spatial_params
from videogen_jax.models.warm_start import warm_start_unet
from videogen_jax.trees import flatten
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.manifest import read_manifest, record_files
from videogen_jax.weights.model_dir import load_component, save_component


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
        options = {"latents": latents.clone(), "num_inference_steps": 3, "output_type": "np"}
        images.append(pipeline("a red circle", **options).images)
    assert images[0].std() > 0
    np.testing.assert_array_equal(*images)


def test_a_stages_spatial_weights_are_the_image_models_it_started_from(tmp_path):
    save_folder(build_models(SD1), SD1, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "model", PAPER)
    config = load_config(tmp_path / "model" / "config.json", ModelConfig)
    started, report = warm_start_unet(
        micro_model.params(config, "stage_2")["stage_2"],
        load_component(tmp_path / "model", "image_unet"),
    )
    assert report.new  # its own temporal layers
    save_component(tmp_path / "model", "stage_2", started)
    export_to_diffusers(tmp_path / "model", tmp_path / "out", "stage_2", "float16")
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


@pytest.mark.parametrize("spec", [SD1, SD2])
def test_imported_again_it_is_the_same_model(tmp_path, spec):
    first, again = tmp_path / "first" / "model", tmp_path / "again" / "model"
    save_folder(build_models(spec), spec, tmp_path / "source")
    if spec is SD1:
        respell(tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", first, PAPER)
    export_to_diffusers(first, tmp_path / "out")
    convert_stable_diffusion(tmp_path / "out", again, PAPER)
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert len([path for path in files if path.suffix == ".safetensors"]) == 3
    # The report contains the source's name, and the manifest the report's checksum.
    for path in files - {Path("conversion.json"), Path("manifest.json")}:
        assert (first / path).read_bytes() == (again / path).read_bytes(), path
    listed = [read_manifest(directory) for directory in (first, again)]
    assert all(entries.pop("conversion.json").bytes for entries in listed)
    assert listed[0] == listed[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("refused")
    save_folder(build_models(SD1), SD1, root / "source")
    convert_stable_diffusion(root / "source", root / "model", PAPER)
    return root / "model"


def no_tokenizer(model: Path) -> None:
    shutil.rmtree(model / "tokenizer")


def shifted(model: Path) -> None:
    edit_config(model, ("image", "schedule", "shift"), 2.0)


def skipping(model: Path) -> None:
    edit_config(model, ("text_encoder", "skip_last_layers"), 1)


def edit_config(model: Path, keys: tuple[str, ...], value: float) -> None:
    content = json.loads((model / "config.json").read_text())
    *parents, last = keys
    node = content
    for key in parents:
        node = node[key]
    assert last in node
    node[last] = value
    (model / "config.json").write_text(json.dumps(content))
    record_files(model)


@pytest.mark.parametrize(
    ("change", "component", "message"),
    [
        (no_tokenizer, "image_unet", "no tokenizer in"),
        (shifted, "image_unet", "config.json: diffusers has no schedule with shift 2.0"),
        (skipping, "image_unet", "text_encoder.skip_last_layers is 1, .* expected 0"),
        (None, "autoencoder", "'autoencoder' is not a UNet, expected one of .*'image_unet'"),
        (None, "flow", "no component 'flow' in .*, there are .*'image_unet'"),
    ],
)
def test_what_cannot_be_exported(model, tmp_path, change, component, message):
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    if change:
        change(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        export_to_diffusers(copy, tmp_path / "out", component)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
