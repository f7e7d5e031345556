"""Converted CLIP weights give the features of transformers' model, from every source."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from tests.support.torchscript import save_torchscript
from videogen_jax.conversion.clip import convert_clip
from videogen_jax.evaluation.features import ClipExtractor
from videogen_jax.models.features.clip import CLIP_VIT_B_32, VisionConfig
from videogen_jax.models.features.loading import load_clip
from videogen_jax.models.features.preprocessing import clip_pixels
from videogen_jax.models.parameters import count, init_clip, shapes
from videogen_jax.tokenizer import build_bpe, save_clip_format

TOLERANCE = 1e-5
CAPTIONS = ["a red circle", "a blue ring moving left"]
VOCAB, MERGES = build_bpe(CAPTIONS, 20)
TOWER = {"hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def theirs() -> CLIPModel:
    """With norms and biases of their own, and heads of 64 channels."""
    torch.manual_seed(0)
    end = len(VOCAB) - 1
    text = {"vocab_size": len(VOCAB), "max_position_embeddings": 20, "eos_token_id": end}
    config = CLIPConfig(
        text_config={**TOWER, **text, "hidden_size": 64, "num_attention_heads": 1},
        vision_config={**TOWER, "num_attention_heads": 2, "image_size": 48, "patch_size": 16},
        projection_dim=24,
    )
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "transformers"
    theirs.save_pretrained(folder)
    save_clip_format(folder, VOCAB, MERGES, 20)
    return folder


def openai_state(theirs: CLIPModel) -> dict[str, torch.Tensor]:
    """Returns the weights by OpenAI's names, with fused projections."""
    state = {"logit_scale": torch.tensor(1.0), "input_resolution": torch.tensor(48)}
    layer = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc"}
    layer |= {"mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    outer = {
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
        "text_model.embeddings.token_embedding": "token_embedding",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm": "ln_final",
    }
    fused: dict[str, list[torch.Tensor]] = {}
    for name, tensor in theirs.state_dict().items():
        if name in ("visual_projection.weight", "text_projection.weight"):
            state[{"v": "visual.proj", "t": "text_projection"}[name[0]]] = tensor.T.contiguous()
        elif found := re.fullmatch(r"(\w+)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            tower, index, part, kind = found.groups()
            visual = "visual." if tower == "vision_model" else ""
            place = f"{visual}transformer.resblocks.{index}"
            if part[-6:] in ("q_proj", "k_proj", "v_proj"):
                fused.setdefault(f"{place}.attn.in_proj_{kind}", [None] * 3)[
                    "qkv".index(part[-6])
                ] = tensor
            else:
                state[f"{place}.{layer[part]}.{kind}"] = tensor
        elif name != "logit_scale":
            for old, new in outer.items():
                name = name.replace(old, new)
            state[name] = tensor
    return state | {name: torch.cat(parts) for name, parts in fused.items()}


def test_every_source_gives_the_features_of_transformers(tmp_path, theirs, folder):
    save_torchscript(openai_state(theirs), tmp_path / "openai.pt")
    torch.save(openai_state(theirs), tmp_path / "state.pt")
    torch.save(theirs.state_dict(), tmp_path / "state.bin")
    convert_clip(folder, tmp_path / "folder")
    for name in ("openai.pt", "state.pt", "state.bin"):
        convert_clip(tmp_path / name, tmp_path / f"of-{name}", folder)
    written = list(tmp_path.glob("*/clip.safetensors"))
    assert len(written) == 4 and len({path.read_bytes() for path in written}) == 1

    config, params, tokenizer = load_clip(tmp_path / "folder")
    extractor = ClipExtractor(config, params, tokenizer)
    videos = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48, 3), np.uint8)
    x = torch.from_numpy(np.array(clip_pixels(videos.reshape(6, 48, 48, 3), size=48)))
    tokens = torch.from_numpy(tokenizer(CAPTIONS, 20).astype(np.int64))
    with torch.no_grad():
        images = theirs.get_image_features(x.permute(0, 3, 1, 2)).pooler_output
        texts = theirs.get_text_features(tokens).pooler_output
    found = extractor.images(videos)
    assert found.shape == (2, 3, 24)
    for ours, expected in ((found.reshape(6, 24), images), (extractor.texts(CAPTIONS), texts)):
        scale = np.abs(expected.numpy()).max()
        np.testing.assert_allclose(ours, expected.numpy(), rtol=0, atol=TOLERANCE * scale)


def test_the_published_sizes():
    assert count(shapes(init_clip, CLIP_VIT_B_32)) == 151_277_313 - 1  # without `logit_scale`


def refused(source: Path, model_dir: Path, tokenizer: Path | None = None) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert_clip(source, model_dir, tokenizer)
    assert not model_dir.exists()
    return str(caught.value)


def test_what_is_missing_or_wrong_is_named(tmp_path, theirs, folder):
    model_dir, file = tmp_path / "model", tmp_path / "x.pt"
    assert "x.pt has no tokenizer" in refused(file, model_dir)
    assert f"no file {file}" in refused(file, model_dir, folder)
    state = openai_state(theirs)
    torch.save({"a.weight": torch.zeros(2)}, file)
    assert "no vision_model.embeddings.patch_embedding.weight or" in refused(
        file, model_dir, folder
    )
    del state["visual.ln_post.bias"]
    state["visual.proj"] = torch.zeros(128, 23)
    torch.save(state, file)
    message = refused(file, model_dir, folder)
    assert "missing vision_model/post_layernorm/bias, visual.ln_post.bias" in message
    assert "visual.proj has shape (128, 23), expected (128, 24)" in message
    del state["visual.positional_embedding"]
    torch.save(state, file)
    assert "no visual.positional_embedding with 2 axes" in refused(file, model_dir, folder)
    other = tmp_path / "tokenizer"
    save_clip_format(other, *build_bpe(["other words"], 20), 20)
    torch.save(openai_state(theirs), file)
    assert "the tokenizer has" in refused(file, model_dir, other)


def test_other_kinds_of_clip_are_refused(tmp_path, folder):
    copy = tmp_path / "folder"
    copy.mkdir()
    for change, message in [
        ({"hidden_act": "gelu"}, "vision_config has 'gelu', expected 'quick_gelu'"),
        ({"num_attention_heads": 4}, "4 heads for 128 channels, expected 64"),
    ]:
        content = json.loads((folder / "config.json").read_text())
        content["vision_config"] |= change
        (copy / "config.json").write_text(json.dumps(content))
        assert message in refused(copy, tmp_path / "model")


def test_sizes_must_fit():
    with pytest.raises(ValueError, match="image_size=225 is not divisible by patch_size=32"):
        VisionConfig(image_size=225)
