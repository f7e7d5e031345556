"""Every form of a diffusers folder converts to the same parameters as the plain one."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import CLIPTokenizer

from tests.support.hostile_pickles import making_folder
from tests.support.torch_stable_diffusion import SD1, build_models, respell, save_folder
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import (
    ConversionOptions,
    convert_stable_diffusion,
    describe_conversion,
)
from videogen_jax.weights import model_dir as model_dirs
from videogen_jax.weights.model_dir import load_component
from videogen_jax.weights.stable_diffusion.folder import choose_weights
from videogen_jax.weights.stable_diffusion.sources import COMPONENTS

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Path, dict]:
    """A plain folder and its converted parameters."""
    root = tmp_path_factory.mktemp("forms")
    save_folder(build_models(SD1), SD1, root / "source")
    convert_stable_diffusion(root / "source", root / "model", PAPER)
    return root / "source", load_all(root / "model")


@pytest.fixture
def folder(plain, tmp_path) -> Path:
    """A copy of the folder for a test to change."""
    return Path(shutil.copytree(plain[0], tmp_path / "source"))


def load_all(model_dir: Path) -> dict:
    return {name: load_component(model_dir, name, dtype=None) for name in COMPONENTS}


def converted(source: Path, **options) -> dict:
    model_dir = source.parent / "model"
    convert_stable_diffusion(source, model_dir, PAPER, options=ConversionOptions(**options))
    return load_all(model_dir)


def assert_equal(ours: dict, theirs: dict) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def conversion_error(source: Path, **options) -> str:
    model_dir = source.parent / "model"
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert_stable_diffusion(source, model_dir, PAPER, options=ConversionOptions(**options))
    assert sorted(path.name for path in source.parent.iterdir() if "model" in path.name) == []
    return str(caught.value)


def pickle_weights(folder: Path, *, legacy: bool = False) -> None:
    for path in [folder / UNET, folder / VAE, folder / TEXT]:
        tensors = {key: torch.from_numpy(value) for key, value in load_file(path).items()}
        name = path.name.replace(".safetensors", ".bin")
        name = name if "diffusion" in name else f"pytorch_{name}"
        torch.save(tensors, path.with_name(name), _use_new_zipfile_serialization=not legacy)
        path.unlink()


def shard(path: Path, index_name: str) -> list[Path]:
    """Splits a file in two and writes the index."""
    weights = load_file(path)
    path.unlink()
    keys = sorted(weights)
    shards, weight_map = [], {}
    for number, part in enumerate([keys[::2], keys[1::2]], start=1):
        shards.append(path.with_name(f"{path.stem}-0000{number}-of-00002.safetensors"))
        save_file({key: weights[key] for key in part}, shards[-1])
        weight_map |= dict.fromkeys(part, shards[-1].name)
    path.with_name(index_name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return shards


def to_half(folder: Path) -> None:
    for path in [folder / UNET, folder / VAE, folder / TEXT]:
        weights = {key: value.astype(np.float16) for key, value in load_file(path).items()}
        save_file(weights, path.with_suffix(".fp16.safetensors"))


def test_oldest_spellings(plain, folder):
    respell(folder)
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_text("not looked at")
    assert_equal(converted(folder), plain[1])
    report = json.loads((folder.parent / "model" / "conversion.json").read_text())
    text = report["components"]["text_encoder"]
    assert text["ignored"] == ["text_model.embeddings.position_ids"]
    assert text["copied"]["final_layer_norm/bias"] == "text_model.final_layer_norm.bias"
    assert text["tensors"] == len(text["copied"]) == text["source_dtypes"]["float32"]
    count = sum(leaf.size for leaf in jax.tree.leaves(plain[1]["text_encoder"]))
    assert (text["parameters"], text["created"]) == (count, [])


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles(plain, folder, legacy):
    pickle_weights(folder, legacy=legacy)
    assert_equal(converted(folder), plain[1])


def test_pickled_bfloat16(plain, folder):
    path = folder / UNET
    tensors = {key: torch.from_numpy(value).bfloat16() for key, value in load_file(path).items()}
    torch.save(tensors, path.with_suffix(".bin"))
    path.unlink()
    ours = converted(folder)["image_unet"]["conv_in"]["bias"]
    assert ours.dtype == "bfloat16"
    np.testing.assert_array_equal(
        ours, plain[1]["image_unet"]["conv_in"]["bias"].astype(ours.dtype)
    )


@pytest.mark.parametrize(
    "index", ["diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.fp16.json"]
)
def test_shards(plain, folder, index):
    shard(folder / UNET, index)
    assert_equal(converted(folder), plain[1])


def test_shards_and_index_must_agree(folder):
    first, second = shard(folder / UNET, "diffusion_pytorch_model.safetensors.index.json")
    weights = load_file(first)
    bias = weights.pop("conv_in.bias")
    save_file(weights, first)
    message = conversion_error(folder)
    assert "index.json and its files disagree on where conv_in.bias are" in message
    save_file(weights | {"conv_in.bias": bias}, first)
    second.unlink()
    assert f"index.json needs {second.name}" in conversion_error(folder)


def test_half_precision_variant(plain, folder):
    to_half(folder)
    half = jax.tree.map(lambda leaf: leaf.astype(np.float16), plain[1])
    chosen = converted(folder, variant="fp16")
    assert_equal(chosen, half)
    assert chosen["autoencoder"]["quant_conv"]["bias"].dtype == np.float16
    shutil.rmtree(folder.parent / "model")
    assert_equal(converted(folder), plain[1])  # full precision if both exist
    shutil.rmtree(folder.parent / "model")
    for path in [folder / UNET, folder / VAE, folder / TEXT]:
        path.unlink()
    assert_equal(converted(folder), half)


def test_names_in_capitals():
    for name in ("diffusion_pytorch_model.SAFETENSORS", "Model.fp16.safetensors"):
        assert choose_weights(["README.md", name]) == name
    assert choose_weights(["model.safetensors.bak"]) is None


def test_a_missing_variant(folder):
    assert "no weights of variant fp16" in conversion_error(folder, variant="fp16")


def test_components_without_the_variant_are_read_from_their_other_files(plain, folder):
    to_half(folder)
    (folder / VAE).with_suffix(".fp16.safetensors").unlink()
    chosen = converted(folder, variant="fp16")
    assert chosen["image_unet"]["conv_in"]["bias"].dtype == np.float16
    assert_equal(chosen["autoencoder"], plain[1]["autoencoder"])
    report = json.loads((folder.parent / "model" / "conversion.json").read_text())
    assert any("autoencoder has no weights of variant fp16" in note for note in report["notes"])


def test_only_some_components(folder):
    (folder / UNET).unlink()  # not needed then
    options = ConversionOptions("bfloat16", only=("autoencoder",))
    convert_stable_diffusion(folder, folder.parent / "model", PAPER, options=options)
    names = {path.name for path in (folder.parent / "model").iterdir()}
    assert names == {"autoencoder.safetensors", "config.json", "conversion.json", "manifest.json"}
    report = json.loads((folder.parent / "model" / "conversion.json").read_text())
    assert report["components"]["autoencoder"]["written_dtypes"].keys() == {"bfloat16"}


def test_dry_run_checks_and_writes_nothing(folder):
    lines = []
    describe_conversion(folder, PAPER, ConversionOptions(), lines.append)
    mapped = "conv_in.weight (16, 4, 3, 3) -> conv_in/kernel (3, 3, 4, 16)"
    assert mapped in "\n".join(lines)
    assert [path.name for path in folder.parent.iterdir()] == ["source"]
    (folder / VAE).unlink()
    with pytest.raises(FileNotFoundError, match="no weights in"):
        describe_conversion(folder, PAPER, ConversionOptions(), lines.append)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_with_code_are_refused_and_not_run(folder, legacy):
    path = folder / UNET
    target = folder / "executed"
    path.unlink()
    torch.save(
        {"conv_in.bias": making_folder(target)},
        path.with_suffix(".bin"),
        _use_new_zipfile_serialization=not legacy,
    )
    message = conversion_error(folder)
    assert f"{path.with_suffix('.bin')} is not a pickle of tensors only" in message
    assert "none of its code was run" in message and "weights_only" not in message
    assert legacy or "mkdir" in message
    assert not target.exists()


def test_damaged_pickles(folder):
    path = (folder / UNET).with_suffix(".bin")
    pickle_weights(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    message = conversion_error(folder)
    assert str(path) in message and "weights_only" not in message
    path.write_bytes(b"")
    assert f"{path} is not a PyTorch file, or damaged" in conversion_error(folder)
    torch.save({"epoch": 3}, path)
    assert f"{path} holds epoch, which are not tensors" in conversion_error(folder)


def test_a_truncated_safetensors_file_and_a_lying_header(folder):
    path = folder / UNET
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    assert f"{path} is not a safetensors file" in conversion_error(folder)
    path.write_bytes(whole.replace(b'"shape":[16,4,3,3]', b'"shape":[16,4,3,9]', 1))
    assert path.read_bytes() != whole
    assert f"{path} is not a safetensors file" in conversion_error(folder)


def test_weights_that_are_not_finite(folder):
    weights = load_file(folder / UNET)
    weights["conv_in.bias"][3] = np.nan
    weights["conv_out.bias"][0] = np.inf
    save_file(weights, folder / UNET)
    first, *lines = conversion_error(folder).splitlines()
    assert first == f"{folder / UNET} has weights that are not finite:"
    assert sorted(line.strip() for line in lines) == [
        "conv_in.bias has NaN or infinity",
        "conv_out.bias has NaN or infinity",
    ]
    weights["conv_in.bias"][3], weights["conv_out.bias"][0] = 0, 1e6
    save_file(weights, folder / UNET)
    message = conversion_error(folder, dtype="float16")
    assert "conv_out.bias has values that float16 cannot represent" in message


def test_no_space_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_dirs, "save_file", full)
    message = conversion_error(folder)
    assert "cannot write" in message and "No space left on device" in message


def test_stable_diffusion_xl_is_refused(folder):
    path = folder / "model_index.json"
    index = json.loads(path.read_text()) | {"text_encoder_2": ["transformers", "CLIPTextModel"]}
    path.write_text(json.dumps(index))
    assert "is Stable Diffusion XL or another model with two" in conversion_error(folder)


def test_a_tokenizer_of_the_new_form_is_copied(folder):
    path = folder / "tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(str(path))
    shutil.rmtree(path)
    tokenizer.save_pretrained(path)
    assert not (path / "vocab.json").exists()
    converted(folder)
    names = {file.name for file in (folder.parent / "model" / "tokenizer").iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
