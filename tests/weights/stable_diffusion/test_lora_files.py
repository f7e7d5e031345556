"""LoRA files: the factor in their metadata, and errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.torch_stable_diffusion import SD1, build_models, save_folder
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    ConversionOptions,
    convert_stable_diffusion,
    parameter_shapes,
)
from videogen_jax.weights.stable_diffusion.folder import stable_diffusion_configs
from videogen_jax.weights.stable_diffusion.lora import open_loras
from videogen_jax.weights.stable_diffusion.lora_targets import LORA_COMPONENTS, lora_targets

RANK = 3


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stable_diffusion")
    save_folder(build_models(SD1), SD1, folder)
    return folder


@pytest.fixture(scope="module")
def shapes(source) -> dict:
    configs = stable_diffusion_configs(source)
    return {name: parameter_shapes(name, configs) for name in LORA_COMPONENTS}


def convert(source: Path, model_dir: Path, **options) -> None:
    convert_stable_diffusion(source, model_dir, PAPER, options=ConversionOptions(**options))


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 6 / RANK**0.5),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_q": 12}}, 12 / RANK),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn2.to_q": 12}}, 6 / RANK),
        ({"lora_alpha": 6}, 6 / RANK),
        ({"text_encoder.lora_alpha": 6}, 1.0),
    ],
)
def test_factors_of_the_metadata(shapes, tmp_path, fields, factor):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = np.arange(48, dtype=np.float32).reshape(RANK, 16), np.ones((16, RANK), np.float32)
    path = tmp_path / "lora.safetensors"
    weights = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    save_file(weights, path, {"lora_adapter_metadata": json.dumps(fields)})
    (lora,) = open_loras([path], [2.0], shapes, LORA_COMPONENTS)
    (ours,) = lora.layers["image_unet"]
    delta = lora.delta("image_unet", ours)
    np.testing.assert_allclose(delta, 2 * factor * (up @ down).T, rtol=1e-5)
    assert lora.delta("image_unet", "conv_in/kernel") is None


Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
ORIGINAL = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    "keys",
    [
        (f"base_model.model.{Q}.lora_A.weight", f"base_model.model.{Q}.lora_B.weight"),
        (f"unet.base_model.model.{Q}.lora_A.weight", f"unet.base_model.model.{Q}.lora_B.weight"),
        (f"{Q}.lora_A.default.weight", f"{Q}.lora_B.default.weight"),
        (f"diffusion_model.{ORIGINAL}.lora_A.weight", f"diffusion_model.{ORIGINAL}.lora_B.weight"),
        tuple(
            f"lora_unet_{ORIGINAL.replace('.', '_')}.lora_{way}.weight" for way in ("down", "up")
        ),
    ],
)
def test_other_names_of_a_layer(shapes, tmp_path, keys):
    down, up = np.arange(48, dtype=np.float32).reshape(RANK, 16), np.ones((16, RANK), np.float32)
    path = tmp_path / "lora.safetensors"
    save_file(dict(zip(keys, (down, up), strict=True)), path)
    (lora,) = open_loras([path], [], shapes, LORA_COMPONENTS)
    (ours,) = lora.layers["image_unet"]
    assert ours == "down_blocks_0/attentions_0/transformer_blocks_0/attn1/to_q/kernel"
    np.testing.assert_allclose(lora.delta("image_unet", ours), (up @ down).T)


def test_every_layer_has_its_name_of_the_original_files(shapes):
    named = lora_targets(shapes)
    original = {k: v for k, v in named.items() if k.startswith("diffusion_model.")}
    theirs = {k: v for k, v in named.items() if k.startswith("unet.")}
    assert len(original) == len(theirs) == len(set(original.values()))
    assert set(original.values()) == set(theirs.values())
    assert named["lora_unet_middle_block_1_proj_in"].layer == "mid_block.attentions.0.proj_in"
    assert named["lora_unet_output_blocks_1_1_conv"].layer == "up_blocks.0.upsamplers.0.conv"


def test_the_factor_of_pefts_own_configuration(shapes, tmp_path):
    down, up = np.ones((RANK, 16), np.float32), np.ones((16, RANK), np.float32)
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.{Q}.lora_{k}.weight": v for k, v in zip("AB", (down, up))}, path)
    config = {"lora_alpha": 6, "r": RANK, "init_lora_weights": True, "modules_to_save": None}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (lora,) = open_loras([path], [], shapes, LORA_COMPONENTS)
    (ours,) = lora.layers["image_unet"]
    np.testing.assert_allclose(lora.delta("image_unet", ours), 6 / RANK * (up @ down).T)


FC1 = "text_encoder.encoder.layers.0.mlp.fc1"


def good(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns a LoRA of rank 2 for `FC1`, 20 to 28, after changes of tensors; None removes one."""
    weights = {
        f"{FC1}.lora_A.weight": np.ones((2, 20), np.float32),
        f"{FC1}.lora_B.weight": np.ones((28, 2), np.float32),
    }
    weights |= changes  # type: ignore[assignment]
    return {key: array for key, array in weights.items() if array is not None}


def refusal(shapes: dict, path: Path, weights: dict, metadata=None, components=LORA_COMPONENTS):
    save_file(weights, path, metadata)
    with pytest.raises(ValueError) as caught:
        open_loras([path], [], shapes, components)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_all_that_is_wrong_is_named_together(source, tmp_path):
    one = np.ones((2, 20), np.float32)
    text = "text_encoder.encoder.layers"
    weights = good(
        **{
            f"{FC1}.lora_A.weight": np.full((2, 20), np.nan, np.float32),
            f"{FC1}.lora_magnitude_vector": one,
            f"{text}.1.mlp.fc1.lora_A.weight": one,
            f"{text}.0.self_attn.q_proj.alpha": np.ones((1,), np.float32),
            f"{text}.2.mlp.fc1.lora_A.weight": one,
            f"{text}.0.mlp.fc2.lora_A.weight": one,
            f"{text}.0.mlp.fc2.lora_B.weight": np.ones((20, 2), np.float32),
            f"{text}.1.mlp.fc2.lora_A.weight": np.ones((2, 28), np.int32),
            f"{text}.1.mlp.fc2.lora_B.weight": np.ones((20, 2), np.float32),
            f"{text}.1.mlp.fc2.alpha": np.zeros((1,), np.float32),
            "unet.conv_in.hada_w1_a": one,
            "unet.conv_in.lokr_w1": one,
            "lora_unet_conv_in.dora_scale": one,
            "text_encoder_2.encoder.layers.0.mlp.fc1.lora_A.weight": one,
            "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": one,
            "unet.conv_in.weight": one,
            f"{FC1}.lora_linear_layer.up.weight": np.ones((28, 2), np.float32),
        }
    )
    path = tmp_path / "lora.safetensors"
    save_file(weights, path)
    with pytest.raises(ValueError) as caught:
        convert(source, tmp_path / "model", lora=(path,))
    assert not (tmp_path / "model").exists()
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path} cannot be merged:"
    assert [line.strip() for line in lines] == [
        "! text_encoder.encoder.layers.0.mlp.fc1.lora_A.weight has NaN or infinity",
        "! text_encoder.encoder.layers.0.mlp.fc2.lora_A.weight has shape (2, 20), "
        "expected (2, 28) or (2, 28, 1, 1)",
        "! text_encoder.encoder.layers.1.mlp.fc2.alpha is 0",
        "! text_encoder.encoder.layers.1.mlp.fc2.lora_A.weight is of type int32, "
        "expected floating-point numbers",
        "+ lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight is for a second text "
        "encoder, as of SDXL",
        "+ lora_unet_conv_in.dora_scale is DoRA, which is not supported",
        f"+ {FC1}.lora_linear_layer.up.weight and {FC1}.lora_B.weight are the same",
        f"+ {FC1}.lora_magnitude_vector is DoRA, which is not supported",
        f"+ {text}.2.mlp.fc1.lora_A.weight is for an unknown layer",
        "+ text_encoder_2.encoder.layers.0.mlp.fc1.lora_A.weight is for a second text encoder, "
        "as of SDXL",
        "+ unet.conv_in.hada_w1_a is LoHa, which is not supported",
        "+ unet.conv_in.lokr_w1 is LoKr, which is not supported",
        "+ unet.conv_in.weight is no weight of a LoRA",
        f"- {text}.0.self_attn.q_proj.alpha has no down and up weight beside it",
        f"- {text}.1.mlp.fc1.lora_A.weight has no up weight beside it",
    ]


def test_loras_and_scales_that_do_not_go_together(source, shapes, tmp_path):
    path = tmp_path / "lora.safetensors"
    assert "has no LoRA weights" in refusal(shapes, path, {})
    message = refusal(shapes, path, good(), components=("image_unet", "autoencoder"))
    assert "is for text_encoder, expected a LoRA for what is converted: image_unet, auto" in message
    save_file(good(), path)
    for scales, message in [
        ([1.0, 2.0], "there are 2 LoRA scales for 1 LoRA files, expected one for each file or"),
        ([float("nan")], "the LoRA scales are .nan., expected finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_loras([path], scales, shapes, LORA_COMPONENTS)
    with pytest.raises(ValueError, match="there are 1 LoRA scales for 0 LoRA files"):
        convert(source, tmp_path / "model", lora_scale=(1.0,))
    with pytest.raises(FileNotFoundError, match="no file"):
        convert(source, tmp_path / "model", lora=(tmp_path / "nothing.safetensors",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_encoder.r": 2}, "the metadata has no text_encoder.lora_alpha"),
        ({"text_encoder.use_dora": True}, "text_encoder.use_dora True, which is not supported"),
        ({"text_encoder.init_lora_weights": "pissa"}, "'pissa', which changes the weights that"),
        ({"text_encoder.lora_alpha": "x"}, "lora_alpha 'x', expected a finite number"),
        ({"text_encoder.alpha_pattern": {"(": 1}}, "expected patterns of layers with finite"),
        ([], r"lora_adapter_metadata is \[\], expected an object"),
    ],
)
def test_metadata_that_is_refused(shapes, tmp_path, fields, message):
    if fields and "text_encoder.r" not in fields:
        fields = {"text_encoder.lora_alpha": 2} | fields
    metadata = {"lora_adapter_metadata": json.dumps(fields)}
    text = refusal(shapes, tmp_path / "lora.safetensors", good(), metadata)
    assert re.search(message, text)


def test_alpha_is_given_once(shapes, tmp_path):
    metadata = {"lora_adapter_metadata": json.dumps({"text_encoder.lora_alpha": 2})}
    weights = good(**{f"{FC1}.alpha": np.ones((), np.float32)})
    message = refusal(shapes, tmp_path / "lora.safetensors", weights, metadata)
    assert f"{FC1}.alpha is given by the metadata too" in message
