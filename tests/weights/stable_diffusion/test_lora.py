"""LoRA files: converted networks equal torch's networks with LoRA layers."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.torch_lora import (
    ALPHA,
    BLOCK,
    LAYERS,
    OTHER_ALPHA,
    RANK,
    Models,
    Pair,
    Pairs,
    convert,
    kohya,
    kohya_weights,
    old_diffusers,
    peft,
)
from tests.weights.stable_diffusion.test_single_file import Case, assert_equal
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    ConversionOptions,
    convert_stable_diffusion,
    describe_conversion,
)
from videogen_jax.weights.model_dir import load_component


@pytest.fixture(scope="module")
def sd1(tmp_path_factory) -> Models:
    return Models(Case(tmp_path_factory.mktemp("lora"), second=False))


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def models(request, tmp_path_factory) -> Models:
    if request.param == "sd1":
        return request.getfixturevalue("sd1")
    return Models(Case(tmp_path_factory.mktemp("lora"), second=True))


@pytest.mark.parametrize(
    ("write", "alpha", "other_alpha"),
    [(peft, ALPHA, OTHER_ALPHA), (peft, None, None), (old_diffusers, None, None)]
    + [(kohya, ALPHA, OTHER_ALPHA)],
    ids=["peft", "peft-without-alpha", "old-diffusers", "kohya"],
)
def test_networks_equal_torch(
    sd1, tmp_path, write: Callable[[Pairs, Path], None], alpha, other_alpha
):
    pairs = sd1.pairs(0, alpha, other_alpha)
    path = tmp_path / "lora.safetensors"
    write(pairs, path)
    model_dir = convert(
        sd1.source, tmp_path / "model", lora=(path,), only=("text_encoder", "image_unet")
    )
    for component in LAYERS:
        sd1.assert_equal_torch(component, model_dir, (pairs, 1.0))


def test_single_files_and_several_loras(models, tmp_path):
    first, second = models.pairs(0, ALPHA), models.pairs(1, None)
    files = (tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    kohya(first, files[0])
    peft(second, files[1])
    single = tmp_path / "checkpoint.safetensors"
    save_file(models.case.weights, single)
    options = {"lora": files, "lora_scale": (0.8, -0.5), "only": ("text_encoder", "image_unet")}
    tokenizer = models.source / "tokenizer"
    of_single = convert(single, tmp_path / "single", tokenizer=tokenizer, **options)
    of_folder = convert(models.source, tmp_path / "folder", **options)
    for component in LAYERS:
        models.assert_equal_torch(component, of_folder, (first, 0.8), (second, -0.5))
        ours = load_component(of_single, component)
        assert_equal(ours, load_component(of_folder, component))


def text_lora(sd1: Models, path: Path) -> np.ndarray:
    """Writes a kohya file for one layer of the text encoder; returns its change in our layout."""
    name = LAYERS["text_encoder"][0]
    pair = sd1.pairs(0, ALPHA)["text_encoder"][name]
    kohya({"text_encoder": {name: pair}}, path)
    return ALPHA / RANK * (pair.up @ pair.down).T


def q_proj(model_dir: Path) -> np.ndarray:
    params = load_component(model_dir, "text_encoder", dtype=None)
    return params["encoder"]["layers_0"]["self_attn"]["q_proj"]["kernel"]


def test_scales(sd1, tmp_path):
    path = tmp_path / "lora.safetensors"
    delta = text_lora(sd1, path)
    plain = sd1.case.params["text_encoder"]["encoder"]["layers_0"]["self_attn"]["q_proj"]["kernel"]
    for i, (scales, total) in enumerate([((), 2.0), ((0.5,), 1.0), ((0.5, -3.0), -2.5)]):
        options = {"lora": (path, path), "lora_scale": scales, "only": ("text_encoder",)}
        merged = q_proj(convert(sd1.source, tmp_path / f"model{i}", **options))
        np.testing.assert_allclose(merged - plain, total * delta, atol=1e-6)


def test_merging_is_before_the_change_of_dtype(sd1, tmp_path):
    path = tmp_path / "lora.safetensors"
    text_lora(sd1, path)
    options: dict[str, Any] = {"lora": (path,), "only": ("text_encoder",)}
    full = q_proj(convert(sd1.source, tmp_path / "full", **options))
    half = q_proj(convert(sd1.source, tmp_path / "half", dtype="bfloat16", **options))
    assert half.dtype == "bfloat16"
    np.testing.assert_array_equal(half, full.astype(half.dtype))

    weights = load_file(path)
    for key in weights:
        weights[key] *= 1e3
    save_file(weights, path)
    with pytest.raises(ValueError, match="q_proj.weight has values that float16 cannot represent"):
        convert(sd1.source, tmp_path / "too_large", dtype="float16", **options)
    assert not (tmp_path / "too_large").exists()


def test_reports(sd1, tmp_path):
    path = tmp_path / "lora.safetensors"
    kohya(sd1.pairs(0, ALPHA), path)
    options = ConversionOptions(lora=(path,), lora_scale=(0.5,), only=("text_encoder",))
    lines: list[str] = []
    describe_conversion(sd1.source, PAPER, options, lines.append)
    text = "\n".join(lines)
    left_out = f"14 layers of image_unet in {path} left out: it is not converted"
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    assert left_out in text
    assert f"merged 0.5 × {path} into 6 tensors" in text
    assert f"0.5 × {path}: {layer} -> encoder/layers_0/mlp/fc1/kernel (64, 32)" in text
    assert "encoder.layers.0.mlp.fc1.weight (32, 64) -> encoder/layers_0/mlp/fc1/kernel" in text

    convert_stable_diffusion(sd1.source, tmp_path / "model", PAPER, options=options)
    report = json.loads((tmp_path / "model" / "conversion.json").read_text())
    assert report["left_out_of_loras"] == [left_out]
    (merged,) = report["components"]["text_encoder"]["loras"]
    assert (merged["file"], merged["scale"], len(merged["layers"])) == (str(path), 0.5, 6)
    assert merged["layers"]["encoder/layers_0/mlp/fc1/kernel"] == layer


def test_the_command(sd1, tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    text_lora(sd1, files[0])
    text_lora(sd1, files[1])
    command = [sys.executable, "-m", "convert.stable_diffusion", sd1.source, tmp_path / "model"]
    command += ["--only", "text_encoder", "--only", "image_unet", "--dry-run"]
    command += ["--lora", files[0], "--lora-scale", "0.5", "--lora", files[1], "--lora-scale", "-2"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (run.returncode, run.stderr) == (0, "")
    assert re.findall(r"merged (\S+) × (\S+) into", run.stdout) == [
        ("0.5", str(files[0])),
        ("-2", str(files[1])),
    ]
    components = re.findall(r"^(\w+): \d+ tensors", run.stdout, re.MULTILINE)
    assert components == ["text_encoder", "image_unet"]


def test_a_factored_convolution_and_1x1_forms(sd1, tmp_path):
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return 0.3 * rng.standard_normal(shape, np.float32)

    pairs = sd1.pairs(0, ALPHA)["image_unet"]
    conv, proj, linear = "conv_in", "down_blocks.0.attentions.0.proj_in", f"{BLOCK}attn1.to_q"
    width = sd1.case.models.unet.conv_in.out_channels
    factored = Pair(
        normal(RANK, 4, 1, 1), normal(width, RANK, 1, 1), normal(RANK, RANK, 3, 3), ALPHA
    )
    true = {"image_unet": {conv: factored, proj: pairs[proj], linear: pairs[linear]}}
    weights = kohya_weights(true)
    flat, deep = "lora_unet_" + proj.replace(".", "_"), "lora_unet_" + linear.replace(".", "_")
    for kind in ("down", "up"):
        weights[f"{flat}.lora_{kind}.weight"] = weights[f"{flat}.lora_{kind}.weight"][:, :, 0, 0]
        weights[f"{deep}.lora_{kind}.weight"] = weights[f"{deep}.lora_{kind}.weight"][
            ..., None, None
        ]
    path = tmp_path / "lora.safetensors"
    save_file({key: np.ascontiguousarray(array) for key, array in weights.items()}, path)
    model_dir = convert(sd1.source, tmp_path / "model", lora=(path,), only=("image_unet",))
    sd1.assert_equal_torch("image_unet", model_dir, (true, 1.0))
