"""Single-file checkpoints convert to the same parameters as a diffusers folder, bit for bit.

The files are written by inverting our tables. Their names are tested with diffusers' own
converters, which must read them as the folder's weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.support.torch_stable_diffusion import (
    MAX_LENGTH,
    SD1,
    SD2,
    VOCAB,
    TorchModels,
    save_folder,
)
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import ConversionOptions, convert_stable_diffusion
from videogen_jax.tokenizer import load_tokenizer, save_clip_format
from videogen_jax.weights.model_dir import load_component
from videogen_jax.weights.rules import export_weights
from videogen_jax.weights.stable_diffusion.sources import COMPONENTS
from videogen_jax.weights.tables.compvis import OPEN_CLIP, compvis_autoencoder, compvis_unet

UNET, VAE = "model.diffusion_model.", "first_stage_model."


def build(second: bool) -> TorchModels:
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(VOCAB),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=23 if second else 2,
        num_attention_heads=1,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="gelu" if second else "quick_gelu",
        eos_token_id=2,
    )
    unet = UNet2DConditionModel(
        sample_size=96 if second else 64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128) if second else (32, 64),
        attention_head_dim=(1, 2) if second else 8,
        use_linear_projection=second,
        cross_attention_dim=64,
    )
    levels: Any = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (32, 64),
    }
    return TorchModels(CLIPTextModel(text), unet, AutoencoderKL(layers_per_block=2, **levels))


class Case:
    """A converted folder and a single file with the same weights."""

    def __init__(self, root: Path, second: bool) -> None:
        self.root, self.second, self.models = root, second, build(second)
        spec = SD2 if second else SD1
        spec = {"scheduler": {"prediction_type": spec["scheduler"]["prediction_type"]}}
        save_folder(self.models, spec, root / "source")
        self.config = convert_stable_diffusion(root / "source", root / "model", PAPER)
        self.params = load_all(root / "model")
        unet = compvis_unet((True, False), 2)
        self.weights = prefixed(UNET, export_weights(unet, self.params["image_unet"]))
        vae = compvis_autoencoder(2)
        self.weights |= prefixed(VAE, export_weights(vae, self.params["autoencoder"]))
        text: dict[str, np.ndarray] = {
            key: value.numpy() for key, value in self.models.text_encoder.state_dict().items()
        }
        if second:
            text = export_weights(OPEN_CLIP, self.params["text_encoder"])
            last = {k.replace(".22.", ".23."): v + 1 for k, v in text.items() if ".22." in k}
            text |= last | {"text_projection": np.ones((64, 64), np.float32)}
            text["logit_scale"] = np.ones((), np.float32)
        else:
            text = prefixed("text_model.", text)
            text["text_model.embeddings.position_ids"] = np.arange(MAX_LENGTH)[None]
        kind = "model." if second else "transformer."
        self.weights |= prefixed(f"cond_stage_model.{kind}", text)
        self.weights["betas"] = np.ones(1000, np.float32)


def prefixed(prefix: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + key: value for key, value in weights.items()}


def load_all(model_dir: Path) -> dict:
    return {name: load_component(model_dir, name, dtype=None) for name in COMPONENTS}


@pytest.fixture(scope="module", params=[False, True], ids=["sd1", "sd2"])
def case(request, tmp_path_factory) -> Case:
    return Case(tmp_path_factory.mktemp("single"), request.param)


def convert(case: Case, path: Path, **options):
    options = ConversionOptions(tokenizer=case.root / "source" / "tokenizer", **options)
    return convert_stable_diffusion(path, path.parent / "model", PAPER, options=options)


def error(case: Case, path: Path, weights: dict[str, np.ndarray], **options) -> str:
    save_file(weights, path)
    with pytest.raises(ValueError) as caught:
        convert(case, path, **options)
    assert not (path.parent / "model").exists()
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_equal(ours: dict, theirs: dict) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_equals_the_folder(case, tmp_path, suffix):
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".ckpt":
        tensors = {key: torch.from_numpy(value) for key, value in case.weights.items()}
        torch.save({"epoch": 1, "state_dict": tensors}, path)
    else:
        save_file(case.weights, path)
    config = convert(case, path)
    assert_equal(load_all(tmp_path / "model"), case.params)
    assert config == replace(case.config, name="model")
    tokenizer = load_tokenizer(tmp_path / "model" / "tokenizer")
    # Its files, those of Stable Diffusion 1, pad with end-of-text.
    assert tokenizer.pad_id == (0 if case.second else tokenizer.end_id)


def test_what_is_left_out(case, tmp_path):
    """Keys of well-known files that are no weights of the three networks."""
    one, path = np.ones(1, np.float32), tmp_path / "checkpoint.safetensors"
    extra = [
        "cond_stage_model.model.transformer.text_model.embeddings.position_ids",
        "cond_stage_model.logit_scale",
        "cond_stage_model.text_projection",
        "embedding_manager.embedder.weight",
        "embedding_manager.string_to_param_dict.*",
    ]
    if not case.second:
        extra += [
            "cond_stage_model.transformer.text_projection.weight",
            "cond_stage_model.transformer.logit_scale",
        ]
    save_file(case.weights | dict.fromkeys(extra, one), path)
    convert(case, path)
    assert_equal(load_all(tmp_path / "model"), case.params)


def test_names_are_those_that_diffusers_reads(case):
    checkpoint = {key: torch.from_numpy(value) for key, value in case.weights.items()}
    convert_unet = single_file_utils.convert_ldm_unet_checkpoint
    convert_vae = single_file_utils.convert_ldm_vae_checkpoint
    for convert_names, model in [(convert_unet, case.models.unet), (convert_vae, case.models.vae)]:
        theirs = convert_names(dict(checkpoint), dict(model.config))
        ours = model.state_dict()
        assert theirs.keys() == ours.keys()
        for key, tensor in ours.items():
            assert torch.equal(theirs[key].reshape(tensor.shape), tensor), key


def test_open_clip_is_read_as_diffusers_reads_it(case):
    if not case.second:
        return
    checkpoint = {key: torch.from_numpy(value) for key, value in case.weights.items()}
    theirs = single_file_utils.convert_open_clip_checkpoint(
        case.models.text_encoder, checkpoint, prefix="cond_stage_model.model."
    )
    theirs = {key.removeprefix("text_model."): value for key, value in theirs.items()}
    for key, tensor in case.models.text_encoder.state_dict().items():
        assert torch.equal(theirs[key], tensor), key


def test_averaged_weights(case, tmp_path):
    averaged = {
        "model_ema.diffusion_model" + key.removeprefix(UNET).replace(".", ""): value + 1
        for key, value in case.weights.items()
        if key.startswith(UNET)
    }
    path = tmp_path / "checkpoint.safetensors"
    assert "has no averaged weights" in error(case, path, case.weights, ema=True)
    save_file(case.weights | averaged, path)
    convert(case, path, ema=True)
    ours = load_component(tmp_path / "model", "image_unet", dtype=None)
    assert_equal(ours, jax.tree.map(lambda leaf: leaf + 1, case.params["image_unet"]))


def test_prediction_is_an_option(case, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_file(case.weights, path)
    config = convert(case, path, prediction="eps")
    assert (config.image.schedule.prediction, config.image.resolution) == ("eps", 128)


def test_what_is_refused(case, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    weights = case.weights
    xl = weights | {"conditioner.embedders.0.x": np.ones(1)}
    assert "is Stable Diffusion XL" in error(case, path, xl)
    label = weights | {UNET + "label_emb.0.0.weight": np.ones(1)}
    assert "has a UNet with label embeddings, as of" in error(case, path, label)
    unclip = label | {"embedder.model.visual.proj": np.ones(1)}
    assert "is Stable Diffusion 2.1 unCLIP" in error(case, path, unclip)
    unknown = weights | {"cond_stage_model.logit_scales": np.ones(1)}
    assert "+ unexpected cond_stage_model.logit_scales" in error(case, path, unknown)
    no_vae = {key: value for key, value in weights.items() if not key.startswith(VAE)}
    assert "has no tensors called first_stage_model.*" in error(case, path, no_vae)
    assert "+ unexpected control" in error(case, path, weights | {"control": np.ones(1)})
    key = UNET + "middle_block.0.in_layers.2.weight"
    wrong = weights | {key: np.ones((3, 3, 3, 3), np.float32)}
    assert "! middle_block.0.in_layers.2.weight has shape (3, 3, 3, 3)" in error(case, path, wrong)
    save_file(weights, path)
    with pytest.raises(ValueError, match="has no tokenizer in it"):
        convert_stable_diffusion(path, tmp_path / "model", PAPER)


def test_the_tokenizer_must_be_of_the_text_encoders_vocabulary(case, tmp_path):
    path, tokenizer = tmp_path / "checkpoint.safetensors", tmp_path / "tokenizer"
    save_file(case.weights, path)
    options = ConversionOptions(tokenizer=tokenizer)
    for vocab in [dict(list(VOCAB.items())[10:]), {"more": len(VOCAB), **VOCAB}]:
        save_clip_format(tokenizer, vocab, [], MAX_LENGTH)
        with pytest.raises(ValueError) as caught:
            convert_stable_diffusion(path, tmp_path / "model", PAPER, options=options)
        message = f"{tokenizer} has {len(vocab)} tokens, end-of-text {len(VOCAB) - 1}; expected"
        assert str(caught.value).startswith(message)
        assert f"the text encoder's {len(VOCAB)}, end-of-text {len(VOCAB) - 1}" in str(caught.value)
        assert not (tmp_path / "model").exists()
