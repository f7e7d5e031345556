"""Tiny random Stable Diffusion folders, made with diffusers and transformers.

`SD1` has the form of Stable Diffusion 1, and `respell` changes it to the oldest spellings of its
files. `SD2` has the form of Stable Diffusion 2.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.numpy import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from videogen_jax.tokenizer import build_bpe, save_clip_format

torch.set_num_threads(1)  # more threads mostly wait for each other in such small networks

PROMPTS = ["a red circle", "square"]
MAX_LENGTH = 9
VOCAB, MERGES = build_bpe(PROMPTS, 10)


@dataclass(frozen=True)
class TorchModels:
    """The torch models of a diffusers folder."""

    text_encoder: Any
    unet: Any
    vae: Any


SD1 = {
    "text_encoder": {"hidden_act": "quick_gelu", "eos_token_id": 2},
    "unet": {"block_out_channels": (16, 32), "attention_head_dim": 8},
    "scheduler": {"prediction_type": "epsilon"},
}
SD2 = {
    "text_encoder": {"hidden_act": "gelu", "eos_token_id": len(VOCAB) - 1},
    "unet": {
        "block_out_channels": (16, 24),
        "attention_head_dim": (2, 3),
        "use_linear_projection": True,
        "transformer_layers_per_block": 2,
    },
    "scheduler": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}


_STREAM_WRITERS = r"""(?x)
    embeddings | out_proj | fc2            # CLIP
    | (^|\.)conv_in | conv2                # UNet and autoencoder
    | proj_in | to_out                     # their transformers
"""


def build_models(spec: dict[str, Any]) -> TorchModels:
    torch.manual_seed(0)
    text_config = CLIPTextConfig(
        vocab_size=len(VOCAB),
        hidden_size=20,
        intermediate_size=28,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=len(VOCAB) - 2,
        **spec["text_encoder"],
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=20,
        **spec["unet"],
    )
    # The signature's types allow for one level only.
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
    }
    vae = AutoencoderKL(norm_num_groups=4, **levels)
    models = TorchModels(CLIPTextModel(text_config), unet, vae)
    for model in (models.text_encoder, models.unet, models.vae):
        randomise(model.eval())
    return models


def randomise(model: torch.nn.Module) -> None:
    """Randomises every parameter: norms and biases start as ones and zeros.

    Layers that write to the residual stream are scaled down. The stream's variance then comes near
    the norms' epsilons, so a wrong epsilon has an effect.
    """
    for name, parameter in model.named_parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        if re.search(_STREAM_WRITERS, name):
            parameter.data *= 0.01


def save_folder(models: TorchModels, spec: dict[str, Any], folder: Path) -> None:
    models.text_encoder.save_pretrained(folder / "text_encoder")
    models.unet.save_pretrained(folder / "unet")
    models.vae.save_pretrained(folder / "vae")
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **spec["scheduler"],
    )
    scheduler.save_pretrained(folder / "scheduler")
    save_clip_format(folder / "tokenizer", VOCAB, MERGES, MAX_LENGTH)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": [None, None],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def respell(folder: Path) -> None:
    """Renames and reshapes the weights as in the first files of Stable Diffusion 1."""
    text_file = folder / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{key}": array for key, array in load_file(text_file).items()}
    weights["text_model.embeddings.position_ids"] = np.arange(MAX_LENGTH)[None]
    save_file(weights, text_file)

    vae_file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for key, array in load_file(vae_file).items():
        for new_name, old_name in old.items():
            if f".{new_name}." in key:
                key = key.replace(new_name, old_name)
                array = array[:, :, None, None] if array.ndim == 2 else array
        weights[key] = array
    save_file(weights, vae_file)
