"""Stable Diffusion 1.5 and 2.1 at their real sizes with random weights, and torch's outputs.

diffusers writes the files. Inputs and outputs of every network go to an npz file, so torch and JAX
need not be in memory together.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

from videogen_jax.tokenizer import END_TOKEN, START_TOKEN, save_clip_format

VOCAB_SIZE, CONTEXT, LATENTS = 49408, 77, 64

FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "sd1.5": {
        "text_encoder": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_act": "quick_gelu",
        },
        "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        "scheduler": {"prediction_type": "epsilon"},
    },
    "sd2.1": {
        "text_encoder": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        "unet": {
            "sample_size": 96,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        "scheduler": {"prediction_type": "v_prediction"},
    },
}
"""Fields in which the published configurations (2.1: 768-v) differ from the classes' defaults."""


def write_source(family: str, folder: Path, reference: Path) -> None:
    """Writes a diffusers folder, one network in memory at a time, and the outputs of each.

    Args:
        family: A key of `FAMILIES`.
        folder: The folder to write.
        reference: The npz file to write; `_text`, `_unet` and `_autoencoder` define its names.
    """
    spec = FAMILIES[family]
    torch.manual_seed(0)
    values: dict[str, np.ndarray] = {}
    for name, build, run in (
        ("text_encoder", _build_text_encoder, _text),
        ("unet", _build_unet, _unet),
        ("vae", _build_autoencoder, _autoencoder),
    ):
        model = build(spec)
        _perturb(model.eval())
        model.save_pretrained(folder / name, max_shard_size="100GB")
        with torch.no_grad():
            run(model, values)
        del model
    np.savez(reference, **values)
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **spec["scheduler"]
    ).save_pretrained(folder / "scheduler")
    _write_tokenizer(folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def save_checkpoint(weights: dict[str, np.ndarray], path: Path) -> None:
    """Writes a single-file checkpoint like those published for Stable Diffusion."""
    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    torch.save({"epoch": 0, "global_step": 1, "state_dict": tensors}, path)


def _build_text_encoder(spec: dict[str, dict[str, Any]]) -> torch.nn.Module:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCAB_SIZE,
            max_position_embeddings=CONTEXT,
            bos_token_id=VOCAB_SIZE - 2,
            eos_token_id=2,  # as in the published files, where it stands for the highest id
            **spec["text_encoder"],
        )
    )


def _build_unet(spec: dict[str, dict[str, Any]]) -> torch.nn.Module:
    return UNet2DConditionModel(**spec["unet"])


def _build_autoencoder(spec: dict[str, dict[str, Any]]) -> torch.nn.Module:
    # The signature's types allow for one level only.
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
    }
    return AutoencoderKL(layers_per_block=2, **levels)


def _perturb(model: torch.nn.Module) -> None:
    """Perturbs norms and biases, which start as ones and zeros; matrices keep their scale."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)


def _text(model: Callable[..., Any], values: dict[str, np.ndarray]) -> None:
    tokens = torch.randint(0, VOCAB_SIZE - 2, (2, CONTEXT))
    tokens[:, 0], tokens[0, 20:], tokens[1, -1] = VOCAB_SIZE - 2, VOCAB_SIZE - 1, VOCAB_SIZE - 1
    out = model(tokens)
    values |= {
        "tokens": tokens.numpy(),
        "text_states": out.last_hidden_state.numpy(),
        "text_pooled": out.pooler_output.numpy(),
    }


def _unet(model: Callable[..., Any], values: dict[str, np.ndarray]) -> None:
    noisy, timesteps = torch.randn(2, 4, LATENTS, LATENTS), torch.tensor([3, 951])
    out = model(noisy, timesteps, torch.from_numpy(values["text_states"])).sample
    values |= {"noisy": noisy.numpy(), "timesteps": timesteps.numpy(), "unet": out.numpy()}


def _autoencoder(model: Any, values: dict[str, np.ndarray]) -> None:
    image, latents = torch.rand(1, 3, 512, 512) * 2 - 1, torch.randn(1, 4, LATENTS, LATENTS)
    posterior = model.encode(image).latent_dist
    values |= {
        "image": image.numpy(),
        "mean": posterior.mean.numpy(),
        "logvar": posterior.logvar.numpy(),
        "latents": latents.numpy(),
        "decoded": model.decode(latents).sample.numpy(),
    }


def _write_tokenizer(folder: Path) -> None:
    """Writes a vocabulary of the right size without merges; nothing is tokenised."""
    tokens = [*(f"token{i}" for i in range(VOCAB_SIZE - 2)), START_TOKEN, END_TOKEN]
    save_clip_format(folder, {token: i for i, token in enumerate(tokens)}, [], CONTEXT)
