"""Export of a model directory to a folder that diffusers' `StableDiffusionPipeline` loads.

The configurations are written by the same field tables by which `configs.py` reads them.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax import trees
from videogen_jax.atomic import replacing
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.weights.config_file import load_config, to_dict
from videogen_jax.weights.manifest import check_files
from videogen_jax.weights.model_dir import DType, list_components, load_component, write_tensors
from videogen_jax.weights.rules import Table, export_weights
from videogen_jax.weights.stable_diffusion.configs import (
    AUTOENCODER_FIELDS,
    TEXT_ENCODER_FIELDS,
    UNET_FIELDS,
)
from videogen_jax.weights.stable_diffusion.fields import Fields
from videogen_jax.weights.stable_diffusion.scheduler import scheduler_fields
from videogen_jax.weights.tables.autoencoder import AUTOENCODER
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

_ADDED = re.compile(r"(.*/)?(temporal_|low_res_noise_embedding)[^/]*/.*")
_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export_to_diffusers(
    model_dir: Path, out: Path, component: str = "image_unet", dtype: DType | None = None
) -> None:
    """Writes a diffusers folder, atomically; one network is in memory at a time.

    Args:
        model_dir: Model directory with `text_encoder`, `autoencoder`, `component` and `tokenizer/`.
        out: Folder to write; must not exist.
        component: The UNet: "image_unet", or a stage or the refiner for its spatial weights.
        dtype: Type of the weights on disk; None keeps each as it is.

    Raises:
        MissingFile: The model lacks a component, its configuration or its tokenizer.
        UserError: `out` exists, or diffusers cannot express the configuration.
    """
    if out.exists():
        raise UserError(f"{out} exists already; give the name of a new folder")
    present = list_components(model_dir)
    for name in ("text_encoder", "autoencoder", component):
        if name not in present:
            raise MissingFile(f"no component {name!r} in {model_dir}, there are {present}")
    if not (model_dir / "tokenizer").is_dir():
        raise MissingFile(f"no tokenizer in {model_dir}")
    check_files(model_dir)
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
            channels = config.autoencoder.latent_channels if folder == "unet" else None
            # The parameters are not bound to a name: each array is freed once it is copied.
            weights = export_weights(table, _load(model_dir, name, dtype, channels))
            write_tensors(temporary / folder / f"{stem}.safetensors", weights, {"format": "pt"})
            del weights


def _load(
    model_dir: Path, name: str, dtype: DType | None, latent_channels: int | None
) -> dict[str, Any]:
    """Loads a component; for a UNet (`latent_channels` is not None) only its spatial part."""
    params = load_component(model_dir, name, dtype)
    return params if latent_channels is None else spatial_params(params, latent_channels)


def spatial_params(params: trees.Tree, latent_channels: int) -> dict[str, Any]:
    """Returns the image UNet's parameters within a video UNet's."""
    kept = {k: v for k, v in trees.flatten(params).items() if not _ADDED.fullmatch(k)}
    kept["conv_in/kernel"] = np.asarray(kept["conv_in/kernel"])[:, :, :latent_channels]
    return trees.unflatten(kept)


def _denoiser(config: ModelConfig, component: str) -> DenoiserConfig:
    stages = {f"stage_{i}": stage for i, stage in enumerate(config.stages, start=1)}
    choices = {"image_unet": config.image, "refiner": config.refiner, **stages}
    if component not in choices:
        raise UserError(f"component {component!r} is not a UNet, expected one of {list(choices)}")
    return choices[component]


def _configs(config: ModelConfig, denoiser: DenoiserConfig, where: str) -> dict[str, Any]:
    """Returns the contents of the JSON files, by path."""
    if denoiser.schedule.shift != 1:
        shift = denoiser.schedule.shift
        raise UserError(f"{where}: diffusers has no schedule with shift {shift}, expected 1")
    if config.text_encoder.skip_last_layers:
        raise UserError(
            f"{where}: text_encoder.skip_last_layers is {config.text_encoder.skip_last_layers}, "
            "which diffusers' pipeline cannot express, expected 0"
        )
    text = _written(TEXT_ENCODER_FIELDS, to_dict(config.text_encoder))
    scheduler = scheduler_fields(denoiser.schedule, denoiser.sampler)
    return {
        "model_index.json": {**_INDEX, "scheduler": ["diffusers", scheduler["_class_name"]]},
        "scheduler/scheduler_config.json": scheduler,
        "text_encoder/config.json": {"architectures": ["CLIPTextModel"], **text},
        "unet/config.json": unet_fields(config, denoiser),
        "vae/config.json": autoencoder_fields(config.autoencoder, denoiser.resolution),
    }


def unet_fields(config: ModelConfig, denoiser: DenoiserConfig) -> dict[str, Any]:
    """Returns the config of a diffusers `UNet2DConditionModel` for the spatial part of a UNet."""
    values = to_dict(denoiser.unet) | {"in_channels": config.autoencoder.latent_channels}
    crossed = denoiser.unet.attention_levels
    values["down"] = ["CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed]
    values["up"] = ["CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in crossed[::-1]]
    size = config.latent_size(denoiser.resolution)
    return _written(UNET_FIELDS, values) | {"sample_size": size}


def autoencoder_fields(config: AutoencoderConfig, resolution: int) -> dict[str, Any]:
    """Returns the config of a diffusers `AutoencoderKL`; `resolution` is in pixels."""
    levels = len(config.block_out_channels)
    values = to_dict(config) | {
        "out_channels": config.in_channels,
        "down": ["DownEncoderBlock2D"] * levels,
        "up": ["UpDecoderBlock2D"] * levels,
    }
    return _written(AUTOENCODER_FIELDS, values) | {"sample_size": resolution}


def _written(table: Fields, values: dict[str, Any]) -> dict[str, Any]:
    """Returns `values` by diffusers' names, with the table's fixed values."""
    return {theirs: values[ours] for theirs, (ours, _) in table.read.items()} | dict(table.fixed)
