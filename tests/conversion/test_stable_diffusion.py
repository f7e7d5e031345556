"""Folders that are not a supported Stable Diffusion: one clear message, nothing written."""

import dataclasses
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.torch_stable_diffusion import SD1, build_models, save_folder
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    convert_stable_diffusion,
    stable_diffusion_configs,
    with_stable_diffusion,
)
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.diffusion.samplers import plan
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.weights.model_dir import load_component


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stable_diffusion")
    save_folder(build_models(SD1), SD1, folder)
    return folder


@pytest.fixture
def broken(source, tmp_path) -> Path:
    """A copy of the folder for a test to damage."""
    return Path(shutil.copytree(source, tmp_path / "broken"))


def conversion_error(folder: Path, model_dir: Path, base=PAPER) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert_stable_diffusion(folder, model_dir, base)
    assert not model_dir.exists()
    assert not list(model_dir.parent.glob(f".{model_dir.name}*"))
    return str(caught.value)


def edit_json(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def edit_weights(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def test_all_wrong_weights_are_named_together(broken, tmp_path):
    def change(weights):
        weights["class_embedding.weight"] = np.zeros(3, np.float32)
        weights["conv_in.weight"] = np.zeros((16, 3, 3, 3), np.float32)
        del weights["down_blocks.0.resnets.0.conv1.bias"]

    path = broken / "unet" / "diffusion_pytorch_model.safetensors"
    edit_weights(path, change)
    first, *lines = conversion_error(broken, tmp_path / "model").splitlines()
    assert first == f"{path} does not fit the configuration:"
    assert sorted(line.strip() for line in lines) == [
        "! conv_in.weight has shape (16, 3, 3, 3), expected (16, 4, 3, 3)",
        "+ unexpected class_embedding.weight",
        "- missing down_blocks_0/resnets_0/conv1/bias, down_blocks.0.resnets.0.conv1.bias",
    ]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("unet", {"act_fn": "mish"}, "act_fn is 'mish', only 'silu' is supported"),
        ("unet", {"addition_embed_type": "text_time"}, "addition_embed_type is 'text_time', a"),
        ("unet", {"in_channels": 9}, "9 input and 4 output channels, expected the autoencoder's 4"),
        (
            "unet",
            {"cross_attention_dim": 24},
            "text of width 24, the text encoder gives 20",
        ),
        ("unet", {"up_block_types": ["UpBlock2D"] * 2}, "up_block_types is not the mirror image"),
        ("unet", {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "AttnDownBlock2D"),
        ("unet", {"down_block_types": "DownBlock2D"}, "'DownBlock2D', expected a list"),
        ("unet", {"transformer_layers_per_block": [1, 2]}, r"transformer_layers is \[1, 2\]"),
        ("unet", {"sample_size": [16, 24]}, r"sample_size is \[16, 24\], expected a whole number"),
        ("vae", {"use_quant_conv": False}, "use_quant_conv is False, only True is supported"),
        ("vae", {"shift_factor": 0.1}, "shift_factor is 0.1, a field that is not supported"),
        ("vae", {"out_channels": 4}, "out_channels differs from in_channels"),
        ("vae", {"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "AttnDownEncoderBlock2D"),
        ("text_encoder", {"hidden_act": "relu"}, "activation is 'relu', expected one of"),
        ("text_encoder", {"model_type": "bert"}, "model_type is 'bert', only 'clip_text_model'"),
        ("scheduler", {"prediction_type": "flow"}, "prediction_type has 'flow', expected one of"),
        (
            "scheduler",
            {"beta_schedule": ["linear"]},
            "beta_schedule has .'linear'., expected one of",
        ),
        (
            "scheduler",
            {"trained_betas": [0.1]},
            r"trained_betas is \[0.1\], only None is supported",
        ),
        ("scheduler", {"rescale_betas_zero_snr": True}, "zero_terminal_snr needs prediction"),
    ],
)
def test_networks_of_another_kind_are_refused(broken, file, change, message):
    name = "scheduler_config.json" if file == "scheduler" else "config.json"
    edit_json(broken / file / name, change)
    with pytest.raises(ValueError, match=message) as caught:
        stable_diffusion_configs(broken)
    assert str(broken) in str(caught.value)


def test_every_model_is_sampled_as_the_schedulers_file_says(broken):
    change = {
        "_class_name": "EulerDiscreteScheduler",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    }
    edit_json(broken / "scheduler" / "scheduler_config.json", change)
    model = with_stable_diffusion(PAPER, stable_diffusion_configs(broken))
    for part in (model.image, *model.stages, model.refiner):
        sampler = SamplerConfig("euler", part.sampler.num_steps, "trailing")
        assert part.sampler == sampler and part.schedule.zero_terminal_snr
        assert plan(part.schedule, part.sampler, 20).timesteps_T[0] == 999
    assert model.refiner.sampler.num_steps == PAPER.refiner.sampler.num_steps


def test_the_schedulers_class_is_checked_where_the_index_names_it(broken):
    edit_json(
        broken / "model_index.json", {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    )
    with pytest.raises(ValueError, match="is for 'FlowMatchEulerDiscreteScheduler'"):
        stable_diffusion_configs(broken)


def test_all_unsupported_fields_are_named_together(broken):
    edit_json(broken / "unet" / "config.json", {"act_fn": "mish", "norm_eps": 1e-3, "new": 1})
    with pytest.raises(ValueError, match=r"(?s)act_fn is.*norm_eps is.*new is 1"):
        stable_diffusion_configs(broken)


def test_fields_left_out_have_the_defaults_of_diffusers(broken):
    path = broken / "unet" / "config.json"
    config = json.loads(path.read_text()) | {"block_out_channels": [32, 64]}
    # All fields of the first files (diffusers 0.5).
    first = ("attention_head_dim", "block_out_channels", "cross_attention_dim", "down_block_types")
    first += ("in_channels", "layers_per_block", "out_channels", "sample_size", "up_block_types")
    path.write_text(json.dumps({name: config[name] for name in first}))
    before = stable_diffusion_configs(broken).unet
    assert before.norm_groups == 32
    assert before.num_heads == (8, 8)
    assert not before.linear_projection


EMA_MODEL = {"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 9}
EMA_MODEL |= {"power": 2 / 3, "update_after_step": 0, "use_ema_warmup": False}


@pytest.mark.parametrize(
    "change", [{"unknown": None}, {"_name": 1}, {"upcast_attention": True}, EMA_MODEL]
)
def test_fields_without_effect_are_accepted(source, broken, change):
    edit_json(broken / "unet" / "config.json", change)
    assert stable_diffusion_configs(broken) == stable_diffusion_configs(source)


def test_sources_that_are_no_diffusers_folder(source, broken, tmp_path):
    model_dir = tmp_path / "model"
    assert "no folder" in conversion_error(tmp_path / "nothing", model_dir)

    (broken / "model_index.json").unlink()
    message = conversion_error(broken, model_dir)
    assert (
        "has no model_index.json, it has scheduler, text_encoder, tokenizer, unet, vae" in message
    )


def test_missing_components(broken, tmp_path):
    shutil.rmtree(broken / "vae")
    edit_json(
        broken / "model_index.json",
        {"text_encoder": ["transformers", "T5EncoderModel"], "unet": [None, None]},
    )
    message = conversion_error(broken, tmp_path / "model")
    assert 'text_encoder is ["transformers", "T5EncoderModel"], expected a CLIPTextModel' in message
    assert "unet is [null, null], expected a UNet2DConditionModel" in message
    assert "the folder vae is missing" in message


def test_weights_in_unknown_forms(broken, tmp_path):
    path = broken / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".msgpack"))
    message = conversion_error(broken, tmp_path / "model")
    assert f"no weights in {broken / 'unet'}" in message
    assert "diffusion_pytorch_model.msgpack" in message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("text_encoder/model.safetensors", " is not a safetensors file"),
        ("unet/config.json", ": not a JSON file"),
    ],
)
def test_damaged_files(broken, tmp_path, file, message):
    path = broken / file
    path.write_bytes(path.read_bytes()[:40])
    assert f"{path}{message}" in conversion_error(broken, tmp_path / "model")


def test_tokenizer_files_are_needed(broken, tmp_path):
    (broken / "tokenizer" / "merges.txt").unlink()
    assert "no merges.txt in" in conversion_error(broken, tmp_path / "model")


def test_latents_must_fit_the_base_configuration(source, tmp_path):
    base = dataclasses.replace(PAPER, autoencoder=AutoencoderConfig(latent_channels=3))
    message = conversion_error(source, tmp_path / "model", base)
    assert "the autoencoder has 4 latent channels, configuration 'paper' is for 3" in message


def test_an_existing_model_directory_is_left_alone(source, tmp_path):
    (tmp_path / "stage_1.safetensors").write_text("trained for a week")
    with pytest.raises(ValueError, match="exists already"):
        convert_stable_diffusion(source, tmp_path, PAPER)
    assert (tmp_path / "stage_1.safetensors").read_text() == "trained for a week"


def test_the_command_converts_and_reports_errors_in_one_line(source, tmp_path, monkeypatch, capfd):
    """`tests/commands/test_convert.py` runs it as a process."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["convert.stable_diffusion", *map(str, arguments)])
        status: Any = 0
        try:
            runpy.run_module("convert.stable_diffusion", run_name="__main__")
        except SystemExit as end:
            status = end.code
        return status, capfd.readouterr().err

    assert run(source, tmp_path / "model", "--dtype", "bfloat16") == (0, "")
    assert (tmp_path / "model" / "config.json").is_file()
    params = load_component(tmp_path / "model", "image_unet", dtype=None)
    assert params["conv_in"]["kernel"].dtype == "bfloat16"

    status, errors = run(source, tmp_path / "model")
    assert status == 1
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert run(source)[0] == 2
