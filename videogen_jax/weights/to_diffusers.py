"""A model directory back into a folder that diffusers' `StableDiffusionPipeline` loads.

The configurations are written from the field tables that `diffusers_configs` reads them by.
"""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from videogen_jax import trees
from videogen_jax.atomic import replacing
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.weights import diffusers_configs as fields
from videogen_jax.weights.config_file import load_config, to_dict
from videogen_jax.weights.model_dir import DType, list_components, load_component
from videogen_jax.weights.rules import Table, export_weights
from videogen_jax.weights.tables.autoencoder import AUTOENCODER
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

_ADDED = re.compile(r"(.*/)?(temporal_|low_res_noise_embedding)[^/]*/.*")
_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export_to_diffusers(
    model_dir: Path, out: Path, component: str = "image_unet", dtype: DType | None = None
) -> None:
    """Writes the folder, whole or not at all; one network is in memory at a time.

    Args:
        model_dir: With `text_encoder`, `autoencoder`, `component` and `tokenizer/`.
        out: Must not exist.
        component: Which UNet: "image_unet", or a stage's or the refiner's spatial weights.
        dtype: Of the weights on disk; None keeps each as it is.

    Raises:
        FileNotFoundError: The model has no such component, configuration or tokenizer.
        ValueError: `out` exists, or the configuration is one that diffusers cannot express.
    """
    if out.exists():
        raise ValueError(f"{out} exists already; give the name of a new folder")
    present = list_components(model_dir)
    for name in ("text_encoder", "autoencoder", component):
        if name not in present:
            raise FileNotFoundError(f"no component {name!r} in {model_dir}, there are {present}")
    if not (model_dir / "tokenizer").is_dir():
        raise FileNotFoundError(f"no tokenizer in {model_dir}")
    config = load_config(model_dir / "config.json", ModelConfig)
    denoiser = _denoiser(config, component)
    texts = _configs(config, denoiser, f"{model_dir / 'config.json'}")
    networks: list[tuple[str, str, Table, str]] = [
        ("text_encoder", "text_encoder", TEXT_ENCODER, "model"),
        ("unet", component, UNET, "diffusion_pytorch_model"),
        ("vae", "autoencoder", AUTOENCODER, "diffusion_pytorch_model"),
    ]
    with replacing(out) as temporary:
        shutil.copytree(model_dir / "tokenizer", temporary / "tokenizer")
        for path, data in texts.items():
            (temporary / path).parent.mkdir(exist_ok=True)
            (temporary / path).write_text(json.dumps(data, indent=2) + "\n")
        for folder, name, table, stem in networks:
            params = load_component(model_dir, name, dtype)
            if folder == "unet":
                params = spatial_params(params, config.autoencoder.latent_channels)
            weights = export_weights(table, params)
            save_file(weights, temporary / folder / f"{stem}.safetensors", {"format": "pt"})


def spatial_params(params: trees.Tree, latent_channels: int) -> dict[str, Any]:
    """A video UNet's parameters without what the video model adds: the image UNet's."""
    kept = {k: v for k, v in trees.flatten(params).items() if not _ADDED.fullmatch(k)}
    kept["conv_in/kernel"] = np.asarray(kept["conv_in/kernel"])[:, :, :latent_channels]
    return trees.unflatten(kept)


def _denoiser(config: ModelConfig, component: str) -> DenoiserConfig:
    stages = {f"stage_{i}": stage for i, stage in enumerate(config.stages, start=1)}
    choices = {"image_unet": config.image, "refiner": config.refiner, **stages}
    if component not in choices:
        raise ValueError(f"component {component!r} is no UNet, expected one of {list(choices)}")
    return choices[component]


def _configs(config: ModelConfig, denoiser: DenoiserConfig, where: str) -> dict[str, Any]:
    """The JSON files by path."""
    schedule = denoiser.schedule
    if schedule.shift != 1:
        raise ValueError(f"{where}: diffusers has no schedule with shift {schedule.shift}")
    if config.text_encoder.skip_last_layers:
        raise ValueError(f"{where}: diffusers' pipeline cannot leave out text layers")
    latents = config.autoencoder.latent_channels
    unet = to_dict(dataclasses.replace(denoiser.unet, in_channels=latents))
    cross = denoiser.unet.attention_levels
    unet["down"] = ["CrossAttnDownBlock2D" if x else "DownBlock2D" for x in cross]
    unet["up"] = ["CrossAttnUpBlock2D" if x else "UpBlock2D" for x in reversed(cross)]
    vae, levels = to_dict(config.autoencoder), len(config.autoencoder.block_out_channels)
    vae["out_channels"] = vae["in_channels"]
    vae |= {"down": ["DownEncoderBlock2D"] * levels, "up": ["UpDecoderBlock2D"] * levels}
    values = to_dict(schedule)
    beta = {ours: theirs for theirs, ours in fields._BETA_SCHEDULES.items()}
    kind = {ours: theirs for theirs, ours in fields._PREDICTIONS.items()}
    values |= {"beta_schedule": beta[schedule.beta_schedule]}
    values |= {"prediction": kind[schedule.prediction]}
    scheduler = {k: values[ours] for k, (ours, _) in fields._SCHEDULE_FIELDS.items()}
    scheduler |= {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    size = {"sample_size": config.latent_size(denoiser.resolution)}
    text = _written(fields._TEXT_ENCODER, to_dict(config.text_encoder))
    return {
        "model_index.json": _INDEX,
        "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", **scheduler},
        "text_encoder/config.json": {"architectures": ["CLIPTextModel"], **text},
        "unet/config.json": _written(fields._UNET, unet) | size,
        "vae/config.json": _written(fields._AUTOENCODER, vae)
        | {"sample_size": denoiser.resolution},
    }


def _written(table: fields._Fields, values: dict[str, Any]) -> dict[str, Any]:
    return {k: values[ours] for k, (ours, _) in table.read.items()} | dict(table.fixed)
